package unixsock_test

import (
	"errors"
	"net"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"deploykeyd/agent/unixsock"
)

// The command lines of who connects and of who comes after it with its pid.
var (
	honest   = []string{"ssh", "git@gitea.test", "git-upload-pack 'acme/api'"}
	tempting = []string{"ssh", "git@gitea.test", "git-receive-pack 'acme/crown-jewels'"}
)

// A process connects, hands its connection on and ends, and another one is given
// its very pid. Whenever that happens, nobody gets to see the other one's words.
func TestPidReuse(t *testing.T) {
	if !inOwnPIDs(t) {
		return
	}
	for kernel, handleOf := range map[string]func(int) (int, error){
		"from 6.5 on": unixsock.Handle, "before 6.5": unixsock.NoHandle,
	} {
		for name, reuse := range map[string]func(*testing.T, *reused, func(int) (int, error)) unixsock.Peer{
			"after PeerWithProcess": afterPeerOf, "before OpenProcess": beforeOpenProcess, "within PeerWithProcess": withinPeerOf, "before PeerWithProcess, by another user": beforePeerOf,
		} {
			r, p := untilReused(t, handleOf, reuse)
			r.check(t, kernel+", "+name, p)
		}
	}
}

// Where the kernel has no handle, another process of the same user that came
// before PeerWithProcess was called cannot be told from the peer: it is not proven.
func TestPidReuseByTheSameUserIsNotProven(t *testing.T) {
	if !inOwnPIDs(t) {
		return
	}
	for kernel, handleOf := range map[string]func(int) (int, error){
		"from 6.5 on": unixsock.Handle, "before 6.5": unixsock.NoHandle,
	} {
		_, p := untilReused(t, handleOf, beforePeerOfBySameUser)
		line, _ := p.CommandLine(1000)
		if p.Proven || kernel == "from 6.5 on" && line != nil {
			t.Errorf("%s: proven %v, %q", kernel, p.Proven, line)
		}
	}
}

func afterPeerOf(t *testing.T, r *reused, handleOf func(int) (int, error)) unixsock.Peer {
	t.Helper()
	p := r.ask(t, handleOf)
	if line, err := p.CommandLine(1000); !slices.Equal(line, honest) || err != nil {
		t.Errorf("while it lived: %q, %v", line, err)
	}
	r.replace(t)
	return p
}

// withinPeerOf is a newcomer of the very same user, who comes between accept and
// the moment when the folder in /proc is opened.
func withinPeerOf(t *testing.T, r *reused, handleOf func(int) (int, error)) unixsock.Peer {
	t.Helper()
	r.other = r.peer
	return r.ask(t, func(fd int) (int, error) {
		handle, err := handleOf(fd)
		<-time.After(20 * time.Millisecond) // start times are counted in ticks of 10 ms
		r.replace(t)
		return handle, err
	})
}

// beforeOpenProcess is a newcomer of the very same user, who comes between the
// two steps of PeerWithProcess.
func beforeOpenProcess(t *testing.T, r *reused, handleOf func(int) (int, error)) unixsock.Peer {
	t.Helper()
	r.other = r.peer
	p, err := unixsock.PeerOf(r.conn)
	if err != nil {
		t.Fatal(err)
	}
	<-time.After(20 * time.Millisecond) // as within PeerWithProcess
	r.replace(t)
	unixsock.OpenWith(&p, handleOf)
	t.Cleanup(func() { _ = p.Close() })
	return p
}

func beforePeerOfBySameUser(t *testing.T, r *reused, handleOf func(int) (int, error)) unixsock.Peer {
	t.Helper()
	r.other = r.peer
	return beforePeerOf(t, r, handleOf)
}

func beforePeerOf(t *testing.T, r *reused, handleOf func(int) (int, error)) unixsock.Peer {
	t.Helper()
	r.replace(t)
	return r.ask(t, handleOf)
}

// reused is a connection whose process is to be replaced.
type reused struct {
	conn        net.Conn
	pid         int
	done        bool   // the pid is another process's
	end         func() // ends the process that connected, and nothing else
	peer, other *syscall.Credential
}

// untilReused does so until the pid was given to another process. Now and then
// a new thread of ours is quicker, and keeps it.
func untilReused(
	t *testing.T, handleOf func(int) (int, error), reuse func(*testing.T, *reused, func(int) (int, error)) unixsock.Peer,
) (*reused, unixsock.Peer) {
	t.Helper()
	const attempts = 20
	for range attempts {
		r := newReused(t)
		if p := reuse(t, r, handleOf); r.done {
			return r, p
		}
	}
	t.Fatalf("no pid was given out again in %d attempts", attempts)
	return nil, unixsock.Peer{}
}

// newReused connects. The connection outlives the process: another one holds it.
func newReused(t *testing.T) *reused {
	t.Helper()
	r := &reused{
		peer:  &syscall.Credential{Uid: 70001, Gid: 70002},
		other: &syscall.Credential{Uid: 70003, Gid: 70002},
	}
	heirEnds, heirStays, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = heirStays.Close() })
	l := openTo(t)
	cmd := role{Connect: l.Addr().String(), Heir: true}.command(t, honest...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: r.peer}
	cmd.ExtraFiles = []*os.File{heirEnds}
	_, r.end = start(t, cmd)
	_ = heirEnds.Close()
	r.pid = cmd.Process.Pid
	r.conn = acceptConn(t, l)
	return r
}

func (r *reused) ask(t *testing.T, handleOf func(int) (int, error)) unixsock.Peer {
	t.Helper()
	p, err := unixsock.PeerWith(r.conn, handleOf)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.Close() })
	return p
}

// replace ends the process that connected, and starts one with its pid: the next
// after the last that was given away, which may be set (proc_sys_kernel(5),
// ns_last_pid).
func (r *reused) replace(t *testing.T) {
	t.Helper()
	r.end()
	if _, err := r.conn.Write([]byte("x")); err != nil {
		t.Fatalf("nobody holds the connection any more: %v", err)
	}
	if err := os.WriteFile("/proc/sys/kernel/ns_last_pid", []byte(strconv.Itoa(r.pid-1)), 0); err != nil {
		t.Fatal(err)
	}
	cmd := role{}.command(t, tempting...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: r.other}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	start(t, cmd)
	if _, err := out.Read(make([]byte, 1)); err != nil { // by now its command line stands
		t.Fatal(err)
	}
	r.done = cmd.Process.Pid == r.pid
}

// check fails the test when p shows anything of the newcomer.
func (r *reused) check(t *testing.T, name string, p unixsock.Peer) {
	t.Helper()
	text, err := os.ReadFile("/proc/" + strconv.Itoa(r.pid) + "/cmdline")
	if want := strings.Join(tempting, "\x00") + "\x00"; string(text) != want || err != nil {
		t.Fatalf("%s: the newcomer is not there: %q, %v", name, text, err)
	}
	if p.UID != r.peer.Uid || int(p.PID) != r.pid {
		t.Errorf("%s: got %+v", name, p)
	}
	if line, err := p.CommandLine(1000); !errors.Is(err, unixsock.ErrNoProcess) {
		t.Errorf("%s: %q, %v", name, line, err)
	}
	if facts := p.Process(); facts != (unixsock.Process{}) {
		t.Errorf("%s: %+v", name, facts)
	}
}
