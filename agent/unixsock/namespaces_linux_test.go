package unixsock_test

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"deploykeyd/agent/unixsock"
)

var words = []string{"ssh", "git@gitea.test", "git-upload-pack 'acme/api'"}

// A peer that the server's pid namespace, or its /proc, does not show has no
// words; who it is decides all the same.
func TestPeersThatTheServerDoesNotSee(t *testing.T) {
	ownPIDs := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS}
	ownMounts := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	for name, c := range map[string]struct {
		server     look
		attr       *syscall.SysProcAttr
		pid, lines bool
	}{
		"all is seen":                         {look{Proc: "-"}, nil, true, true},
		"server in another pid namespace":     {look{}, ownPIDs, false, false},
		"the same with the /proc of this one": {look{Proc: "-"}, ownPIDs, false, false},
		"hidepid=2":                           {look{Proc: "hidepid=2", UID: 70009, GID: 70009}, ownMounts, true, false},
		"hidepid=1":                           {look{Proc: "hidepid=1", UID: 70009, GID: 70009}, ownMounts, true, false},
		"hidepid=2 and the same user":         {look{Proc: "hidepid=2", UID: 70001, GID: 70002}, ownMounts, true, true},
		"hidepid=2 and root":                  {look{Proc: "hidepid=2"}, ownMounts, true, true},
	} {
		l := openTo(t)
		cmd, _ := client(t, l, &syscall.Credential{Uid: 70001, Gid: 70002, Groups: []uint32{70010}}, words...)
		c.server.Groups = []string{"70010"}
		got := c.server.from(t, acceptConn(t, l), c.attr)
		want := sight{UID: 70001, GID: 70002, Groups: []uint32{70010}, Allowed: true, NoLine: !c.lines}
		if c.pid {
			want.PID = cmd.Process.Pid
		}
		if c.lines {
			want.Proven, want.Line = true, words
		}
		checkFacts(t, name, c.lines, &got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// checkFacts fails the test when facts are told of a process that is not seen,
// or the other way round, and forgets them.
func checkFacts(t *testing.T, name string, seen bool, s *sight) {
	t.Helper()
	if told := s.Facts.Comm != ""; told != seen || !seen && s.Facts != (unixsock.Process{}) {
		t.Errorf("%s: facts %+v", name, s.Facts)
	}
	s.Facts = unixsock.Process{}
}

// Pids mean nothing in a /proc that was mounted for another pid namespace: pid 1
// there is another process than the server, who is its own peer here.
func TestProcOfAnotherNamespace(t *testing.T) {
	for proc, seen := range map[string]bool{"": true, "-": false} {
		got := look{Proc: proc, Users: []string{"root"}}.from(t, nil, &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWPID | unix.CLONE_NEWNS})
		want := sight{PID: 1, Groups: got.Groups, Allowed: true, NoLine: !seen, Proven: seen}
		if seen {
			want.Line = []string{"server"}
		}
		checkFacts(t, "proc "+proc, seen, &got)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("mounted anew: %v (-want +got):\n%s", seen, diff)
		}
	}
}

// A container of this machine connects: its ids are ours for it, whatever it
// calls itself.
func TestPeersInChildNamespaces(t *testing.T) {
	outside := syscall.SysProcIDMap{ContainerID: 0, HostID: 70001, Size: 5}
	l := openTo(t)
	cmd := role{Connect: l.Addr().String()}.command(t, words...)
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{outside}, GidMappings: []syscall.SysProcIDMap{outside},
		GidMappingsEnableSetgroups: true,
		Credential:                 &syscall.Credential{Uid: 0, Gid: 0, Groups: []uint32{0, 4}},
	}
	start(t, cmd)
	p := peerOf(t, acceptConn(t, l))
	line, err := p.CommandLine(1000)
	got := sight{UID: p.UID, GID: p.GID, Groups: p.Groups(unixsock.MaxGroups), PID: int(p.PID), Proven: p.Proven, Line: line}
	want := sight{UID: 70001, GID: 70001, Groups: []uint32{70001, 70005}, PID: cmd.Process.Pid, Proven: true, Line: words}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	for name, c := range map[string]struct {
		users, groups []string
		want          bool
	}{
		"root": {[]string{"root"}, []string{"root"}, false}, "its uid": {[]string{"70001"}, nil, true}, "its group": {nil, []string{"70005"}, true},
	} {
		if unixsock.Admits(unixsock.NewUsers(c.users, c.groups, unixsock.Resolver{}, nil), p) != c.want {
			t.Errorf("%s: %v", name, !c.want)
		}
	}
}

// The server in a container: it sees peers whose ids it does not have as nobody,
// all of them as the same.
func TestPeersThatTheServersUserNamespaceDoesNotMap(t *testing.T) {
	listed := look{
		Proc: "-", Users: []string{"root", "65534", "nobody", "1000"},
		Groups: []string{"2000", "65534", "nogroup"},
	}
	for name, c := range map[string]struct {
		who    syscall.Credential
		want   sight
		listed bool
	}{
		"mapped":               {syscall.Credential{Uid: 70001, Gid: 70002}, sight{UID: 1000, GID: 65534, Groups: []uint32{}}, true},
		"mapped group":         {syscall.Credential{Uid: 70003, Gid: 70004, Groups: []uint32{70005, 70010}}, sight{UID: 1001, GID: 65534, Groups: []uint32{65534, 2000}}, true},
		"groups not mapped":    {syscall.Credential{Uid: 70003, Gid: 70004, Groups: []uint32{70005}}, sight{UID: 1001, GID: 65534, Groups: []uint32{65534}}, false},
		"not mapped":           {syscall.Credential{Uid: 70005, Gid: 70004}, sight{UID: 65534, GID: 65534, Groups: []uint32{}}, false},
		"not mapped, in group": {syscall.Credential{Uid: 70005, Gid: 70010, Groups: []uint32{70010}}, sight{UID: 65534, GID: 2000, Groups: []uint32{2000}}, false},
		"root, not mapped":     {syscall.Credential{Gid: 70010}, sight{UID: 65534, GID: 2000, Groups: []uint32{}}, false},
	} {
		l := openTo(t)
		client(t, l, &c.who, words...)
		got := listed.from(t, acceptConn(t, l), &syscall.SysProcAttr{
			Cloneflags:  unix.CLONE_NEWUSER,
			UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 70090, Size: 1}, {ContainerID: 1000, HostID: 70001, Size: 1}, {ContainerID: 1001, HostID: 70003, Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: 70090, Size: 1}, {ContainerID: 2000, HostID: 70010, Size: 1}},
			Credential:  &syscall.Credential{NoSetGroups: true},
		})
		c.want.Allowed = c.listed
		got.PID, got.Proven, got.Line, got.NoLine, got.Facts = 0, false, nil, false, unixsock.Process{}
		if diff := cmp.Diff(c.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// A peer may be gone before anybody accepts its connection: it is still known
// who it was.
func TestPeerThatDiedBeforeAccept(t *testing.T) {
	for name, handleOf := range map[string]func(int) (int, error){"from 6.5 on": unixsock.Handle, "before 6.5": unixsock.NoHandle} {
		for _, reaped := range []bool{true, false} {
			l := openTo(t)
			cmd := role{Connect: l.Addr().String()}.command(t, words...) // without an input: it ends at once
			cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 70001, Gid: 70002, Groups: []uint32{70010}}}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			awaitZombie(t, cmd.Process.Pid)
			if reaped {
				_ = cmd.Wait()
			}
			p, err := unixsock.PeerWith(acceptConn(t, l), handleOf)
			if err != nil {
				t.Fatal(err)
			}
			line, err := p.CommandLine(1000)
			if p.UID != 70001 || p.GID != 70002 || !slices.Equal(p.Groups(unixsock.MaxGroups), []uint32{70010}) || line != nil || err == nil || p.Proven {
				t.Errorf("%s, reaped %v: %+v, %q, %v", name, reaped, p, line, err)
			}
			_, _ = p.Close(), cmd.Wait()
		}
	}
}

// awaitZombie waits until a child of ours has ended, and leaves it unreaped.
func awaitZombie(t *testing.T, pid int) {
	t.Helper()
	for {
		err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil)
		if err == nil {
			return
		}
		if err != unix.EINTR {
			t.Fatal(os.NewSyscallError("waitid", err))
		}
	}
}

// Both overflow ids are the kernel's, which an administrator may have moved.
func TestOverflowIDsAreTheKernels(t *testing.T) {
	if !inOwnPIDs(t) {
		return
	}
	for name, id := range map[string]string{"overflowuid": "4711\n", "overflowgid": "4712\n"} {
		path := filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(path, []byte(id), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := unix.Mount(path, "/proc/sys/kernel/"+name, "", unix.MS_BIND, ""); err != nil {
			t.Fatal(err)
		}
	}
	u := unixsock.NewUsers([]string{"4711", "1001"}, []string{"4712", "2001"}, unixsock.Resolver{}, nil)
	for name, c := range map[string]struct {
		p    unixsock.Peer
		want bool
	}{
		"user": {of(1001, 1), true}, "group": {of(1, 2001), true}, "overflow user": {of(4711, 1), false},
		"overflow user in a group": {of(4711, 2001), false}, "overflow group": {of(1, 4712, 4712), false},
	} {
		if got := unixsock.Admits(u, c.p); got != c.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
