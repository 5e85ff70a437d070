package unixsock

import (
	"strings"
	"testing"
)

func TestParsePasswd(t *testing.T) {
	for in, want := range map[string]uint32{
		"jenkins:x:1001:1001:Jenkins,,,:/var/lib/jenkins:/bin/sh\n": 1001,
		"u@acme.example:*:4294967294:5:::\nsecond:x:7:7:::\n":       4294967294,
	} {
		if got, err := parsePasswd(in); err != nil || got != want {
			t.Errorf("%q: got %d, %v", in, got, err)
		}
	}
	for _, in := range []string{"", "\n", "jenkins", "jenkins:x", "jenkins:x:-1:1:::", "jenkins:x:4294967296:1:::", "jenkins:x::1:::"} {
		if got, err := parsePasswd(in); err == nil {
			t.Errorf("%q: got %d", in, got)
		}
	}
}

func FuzzParsePasswd(f *testing.F) {
	f.Add("jenkins:x:1001:1001::/:/bin/sh\n")
	f.Add(":::")
	f.Fuzz(func(t *testing.T, in string) {
		id, err := parsePasswd(in)
		if err == nil && !strings.Contains(in, ":") {
			t.Fatalf("%q gave %d", in, id)
		}
	})
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
