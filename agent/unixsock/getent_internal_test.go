package unixsock

import (
	"context"
	"errors"
	"os/user"
	"strconv"
	"strings"
	"testing"
)

func TestParseReply(t *testing.T) {
	for in, want := range map[string]uint32{
		"jenkins:x:1001:1001:Jenkins,,,:/var/lib/jenkins:/bin/sh\n": 1001,
		"u@acme.example:*:4294967294:5:::\nsecond:x:7:7:::\n":       4294967294,
		"builders:x:2001:\n":                         2001,
		"builders:x:2001:jenkins,bamboo":             2001,
		"all:*:2002:" + strings.Repeat("u,", 30<<10): 2002,
	} {
		if got, err := parseReply(in); err != nil || got != want {
			t.Errorf("%.80q: got %d, %v", in, got, err)
		}
	}
	for _, in := range []string{
		"", "\n", "jenkins", "jenkins:x", "jenkins:x:-1:1:::", "jenkins:x:4294967296:1:::", "jenkins:x::1:::",
		"builders:x:2001", "builders:x:2001\n:", "builders:x: 2001:", "\nbuilders:x:2001:",
	} {
		if got, err := parseReply(in); err == nil {
			t.Errorf("%q: got %d", in, got)
		}
	}
}

// Whatever getent says, an id is one that stands in the third field of the
// first line.
func FuzzGetentReply(f *testing.F) {
	f.Add("jenkins:x:1001:1001::/:/bin/sh\n")
	f.Add("builders:x:2001:jenkins,bamboo\nother:x:7:\n")
	f.Add("builders:x:2001")
	f.Add("u@acme.example:*:004294967294:5:::")
	f.Add("a:b:\n7:c:")
	f.Add(":::")
	f.Fuzz(func(t *testing.T, in string) {
		id, err := parseReply(in)
		if err != nil {
			return
		}
		parts := strings.Split(in, ":")
		if len(parts) < 4 || strings.TrimLeft(parts[2], "0") != strings.TrimLeft(strconv.FormatUint(uint64(id), 10), "0") {
			t.Fatalf("%q gave %d", in, id)
		}
		if strings.Contains(strings.Join(parts[:3], ""), "\n") {
			t.Fatalf("%q gave %d, from another line", in, id)
		}
	})
}

func TestGetent(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	ours, err := user.LookupGroupId(me.Gid)
	if err != nil {
		t.Fatal(err)
	}
	for database, c := range map[string]struct{ name, id string }{
		"passwd": {me.Username, me.Uid}, "group": {ours.Name, me.Gid},
	} {
		ask := getent(database)
		if id, err := ask(t.Context(), c.name); err != nil || strconv.FormatUint(uint64(id), 10) != c.id {
			t.Errorf("%s %s: got %d, %v, want %s", database, c.name, id, err, c.id)
		}
		if _, err := ask(t.Context(), "no-such-name-here"); !errors.Is(err, ErrUnknownName) {
			t.Errorf("%s: an unknown name: %v", database, err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := ask(ctx, c.name); !errors.Is(err, context.Canceled) || errors.Is(err, ErrUnknownName) {
			t.Errorf("%s, cancelled: %v", database, err)
		}
	}
}

func TestCappedKeepsTheBeginning(t *testing.T) {
	c := &capped{room: 5}
	for _, s := range []string{"abc", "def", "ghi"} {
		if n, err := c.Write([]byte(s)); n != 3 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if c.String() != "abcde" {
		t.Errorf("kept %q", c.String())
	}
}

func TestSystemdGroup(t *testing.T) {
	for in, want := range map[string]string{
		"0::/system.slice/jenkins.service\n":                               "/system.slice/jenkins.service",
		"12:pids:/x\n1:name=systemd:/system.slice/jenkins.service\n0::/\n": "/system.slice/jenkins.service",
		"1:name=systemd:/old\n0::/system.slice/new.service\n":              "/system.slice/new.service",
		"5:cpu:/\n": "", "": "", "nonsense": "",
	} {
		if got := systemdGroup(in); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}
