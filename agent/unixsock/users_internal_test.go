package unixsock

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// An administrator may move the id that stands for everybody.
func TestTheKernelsOverflowIDsLetNobodyIn(t *testing.T) {
	const uid, gid = 4711, 4712
	resolve := func(_ context.Context, name string) (uint32, error) {
		return map[string]uint32{"moved": uid, "crowd": gid}[name], nil
	}
	u := NewUsers(nil, nil, Resolver{}, nil)
	u.users = newListed("user", []string{"4711", "moved", "1001"}, resolve, uid)
	u.groups = newListed("group", []string{"4712", "crowd", "2001"}, resolve, gid)
	for name, c := range map[string]struct {
		p    Peer
		want bool
	}{
		"overflow uid":                   {Peer{UID: uid}, false},
		"overflow uid, listed group":     {Peer{UID: uid, GID: 2001}, false},
		"the usual one":                  {Peer{UID: overflowID, GID: 2001}, false},
		"overflow gid":                   {Peer{UID: 5, GID: gid}, false},
		"overflow gid, among groups":     {Peer{UID: 5, Groups: func(int) []uint32 { return []uint32{gid, overflowID} }}, false},
		"overflow uid's number as group": {Peer{UID: 5, GID: uid}, false},
		"a listed user":                  {Peer{UID: 1001, GID: gid}, true},
		"a listed group":                 {Peer{UID: 5, GID: 2001}, true},
	} {
		if got := Admits(u, c.p); got != c.want || Knows(u, c.p) != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestOverflowOf(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		want uint32
	}{"plain": {"4294967294\n", 4294967294}, "empty": {"", overflowID}, "negative": {"-1\n", overflowID}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := overflowOf(path); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := overflowOf(filepath.Join(dir, "missing")); got != overflowID {
		t.Errorf("missing: %d", got)
	}
	u := NewUsers(nil, nil, Resolver{}, nil)
	for path, got := range map[string]uint32{overflowUIDFile: u.users.never, overflowGIDFile: u.groups.never} {
		text, err := os.ReadFile(path)
		if want := strings.TrimSpace(string(text)); err != nil || strconv.FormatUint(uint64(got), 10) != want {
			t.Errorf("NewUsers has %d, but %s says %q, %v", got, path, want, err)
		}
	}
}
