package unixsock_test

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/unixsock"
)

func TestPeerOfSaysWhoConnected(t *testing.T) {
	l := listen(t, filepath.Join(folder(t), "s"))
	args := []string{"/usr/bin/ssh", "-p", "2222", "git@gitea.test", "git-upload-pack '/acme/api.git'", ""}
	cmd, _ := client(t, l, nil, args...)
	p := peerOf(t, acceptConn(t, l))
	if p.PID != int32(cmd.Process.Pid) || !p.Proven || p.UID != uint32(os.Geteuid()) || p.GID != uint32(os.Getegid()) {
		t.Errorf("got %+v, want pid %d", p, cmd.Process.Pid)
	}
	line, err := p.CommandLine(unixsock.MaxCommandLine)
	if diff := cmp.Diff(args, line); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	facts := p.Process()
	exe, _ := os.Executable()
	if facts.Exe != exe || facts.Comm != filepath.Base(self) {
		t.Errorf("got %+v, want %s", facts, exe)
	}
}

// The user alone is told without a look at the process, which may follow.
func TestUserOfOpensNothing(t *testing.T) {
	l := openTo(t)
	cmd, _ := client(t, l, &syscall.Credential{Uid: 70001, Gid: 70002, Groups: []uint32{70010}}, "ssh", "git@gitea.test")
	c := acceptConn(t, l)
	p, err := unixsock.PeerOf(c)
	if err != nil || p.UID != 70001 || p.GID != 70002 || p.PID != int32(cmd.Process.Pid) || !slices.Equal(p.Groups(9), []uint32{70010}) {
		t.Errorf("got %+v, %v", p, err)
	}
	if line, err := p.CommandLine(100); !errors.Is(err, unixsock.ErrNoProcess) || p.Proven || p.Close() != nil {
		t.Errorf("proven %v, %q, %v", p.Proven, line, err)
	}
	p.OpenProcess()
	if line, err := p.CommandLine(100); err != nil || !p.Proven || len(line) != 2 {
		t.Errorf("afterwards: proven %v, %q, %v", p.Proven, line, err)
	}
	if err := p.Close(); err != nil {
		t.Error(err)
	}
	late, err := unixsock.PeerOf(c)
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close()
	late.OpenProcess()
	if line, err := late.CommandLine(100); !errors.Is(err, unixsock.ErrNoProcess) {
		t.Errorf("of a closed connection: %q, %v", line, err)
	}
}

// The same on a kernel without handles of peers.
func TestPeerOfBefore65(t *testing.T) {
	l := openTo(t)
	client(t, l, &syscall.Credential{Uid: 70001, Gid: 70002}, "ssh", "git@gitea.test")
	p, err := unixsock.PeerWith(acceptConn(t, l), unixsock.NoHandle)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = p.Close() }()
	line, err := p.CommandLine(100)
	if diff := cmp.Diff([]string{"ssh", "git@gitea.test"}, line); diff != "" || err != nil || p.Proven {
		t.Errorf("proven %v, %v (-want +got):\n%s", p.Proven, err, diff)
	}
}

func TestCommandLineIsCut(t *testing.T) {
	l := listen(t, filepath.Join(folder(t), "s"))
	client(t, l, nil, "ssh", "first", strings.Repeat("x", 100<<10), "git-upload-pack 'a/b'")
	p := peerOf(t, acceptConn(t, l))
	for _, c := range []struct {
		limit int
		want  []string
	}{{2, nil}, {4, []string{"ssh"}}, {9, []string{"ssh"}}, {10, []string{"ssh", "first"}}, {1 << 30, []string{"ssh", "first"}}} {
		got, err := p.CommandLine(c.limit)
		if diff := cmp.Diff(c.want, got); diff != "" || !errors.Is(err, unixsock.ErrCut) {
			t.Errorf("limit %d: %v (-want +got):\n%s", c.limit, err, diff)
		}
	}
}

func TestPeerOfAnotherUser(t *testing.T) {
	for name, groups := range map[string][]uint32{
		"no groups": nil, "one": {70010}, "several": {70012, 70010, 5, 70010}, "more than a first guess": from(70000, 33), "many": from(70000, 1000),
	} {
		l := openTo(t)
		_, stop := client(t, l, &syscall.Credential{Uid: 70001, Gid: 70002, Groups: groups})
		c := acceptConn(t, l)
		p := peerOf(t, c)
		if p.UID != 70001 || p.GID != 70002 {
			t.Errorf("%s: uid %d gid %d", name, p.UID, p.GID)
		}
		want := append([]uint32{}, groups...)
		slices.Sort(want) // as the kernel keeps them
		for _, when := range []string{"while it lives", "after its end"} {
			if diff := cmp.Diff(want, p.Groups(len(want))); diff != "" {
				t.Errorf("%s, %s (-want +got):\n%s", name, when, diff)
			}
			stop()
		}
		if got := p.Groups(len(want) - 1); got != nil && len(want) > 0 {
			t.Errorf("%s: more than asked for: %v", name, got)
		}
		_ = c.Close()
		if got := p.Groups(unixsock.MaxGroups); got != nil {
			t.Errorf("%s: groups of a closed connection: %v", name, got)
		}
	}
}

// from returns n ids in a row.
func from(first uint32, n int) []uint32 {
	ids := make([]uint32, n)
	for i := range ids {
		ids[i] = first + uint32(i)
	}
	return ids
}

// The kernel's limit: no peer has more groups, and they are held for nobody.
func TestPeerInAllTheGroupsThereMayBe(t *testing.T) {
	const most = 1 << 16
	l := openTo(t)
	client(t, l, &syscall.Credential{Uid: 70001, Gid: 70002, Groups: from(100000, most)})
	p := peerOf(t, acceptConn(t, l))
	if few := p.Groups(most - 1); few != nil {
		t.Errorf("%d groups, more than asked for", len(few))
	}
	groups := p.Groups(unixsock.MaxGroups)
	if len(groups) != most || groups[0] != 100000 || groups[most-1] != 100000+most-1 {
		t.Fatalf("%d groups", len(groups))
	}
	u := unixsock.NewUsers(nil, []string{"165535"}, unixsock.Resolver{}, nil)
	if !unixsock.Admits(u, p) || unixsock.Admits(unixsock.NewUsers(nil, []string{"165536"}, unixsock.Resolver{}, nil), p) {
		t.Error("the last group does not decide")
	}
	if unixsock.Knows(u, p) {
		t.Error("Known reads as many groups as Admit")
	}
}

// Membership is the process's: what it had when it connected.
func TestMembershipIsTheProcesssOwn(t *testing.T) {
	u := unixsock.NewUsers(nil, []string{"70010"}, unixsock.Resolver{}, nil)
	for name, c := range map[string]struct {
		who  syscall.Credential
		want bool
	}{
		"its group":            {syscall.Credential{Uid: 70001, Gid: 70010}, true},
		"among its groups":     {syscall.Credential{Uid: 70001, Gid: 70002, Groups: []uint32{5, 70010}}, true},
		"gave its groups up":   {syscall.Credential{Uid: 70001, Gid: 70002}, false},
		"a uid of that number": {syscall.Credential{Uid: 70010, Gid: 70002}, false},
		"root in the group":    {syscall.Credential{Gid: 70010, Groups: []uint32{70010}}, false},
		"nobody in the group":  {syscall.Credential{Uid: 65534, Gid: 70010, Groups: []uint32{70010}}, false},
	} {
		l := openTo(t)
		client(t, l, &c.who)
		if got := unixsock.Admits(u, peerOf(t, acceptConn(t, l))); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func TestPeerOfSomethingElse(t *testing.T) {
	a, b := net.Pipe()
	defer func() { _, _ = a.Close(), b.Close() }()
	if p, err := unixsock.PeerWithProcess(a); err == nil {
		t.Errorf("got %+v", p)
	}
	if _, err := (unixsock.Peer{}).CommandLine(100); !errors.Is(err, unixsock.ErrNoProcess) {
		t.Errorf("got %v", err)
	}
}
