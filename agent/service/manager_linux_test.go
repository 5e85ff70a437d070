package service_test

import (
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"deploykeyd/agent/service"
)

// standIn stands for systemd: it receives what daemons tell, and keeps what they
// store.
type standIn struct {
	t       *testing.T
	socket  *net.UnixConn
	address string
}

// message is one that was received.
type message struct {
	text  string
	files []*os.File
	pid   int
}

func newStandIn(t *testing.T, address string) *standIn {
	t.Helper()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = socket.Close() })
	raw, err := socket.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	_ = raw.Control(func(fd uintptr) {
		if err := unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_PASSCRED, 1); err != nil {
			t.Fatal(err)
		}
	})
	return &standIn{t, socket, address}
}

// shortFolder returns a folder whose path leaves room for a socket's name.
func shortFolder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dkd")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func (s *standIn) receive() message {
	s.t.Helper()
	if err := s.socket.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		s.t.Fatal(err)
	}
	text, control := make([]byte, 4097), make([]byte, 4096)
	n, controlN, flags, _, err := s.socket.ReadMsgUnix(text, control)
	if err != nil || flags&(unix.MSG_TRUNC|unix.MSG_CTRUNC) != 0 {
		s.t.Fatalf("flags %#x, %v", flags, err)
	}
	m := message{text: string(text[:n])}
	parts, err := unix.ParseSocketControlMessage(control[:controlN])
	if err != nil {
		s.t.Fatal(err)
	}
	for _, p := range parts {
		if who, err := unix.ParseUnixCredentials(&p); err == nil {
			m.pid = int(who.Pid)
		}
		fds, err := unix.ParseUnixRights(&p)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			f := os.NewFile(uintptr(fd), "stored")
			s.t.Cleanup(func() { _ = f.Close() })
			m.files = append(m.files, f)
		}
	}
	return m
}

// underStandIn returns a manager that talks to a stand-in.
func underStandIn(t *testing.T) (*service.Manager, *standIn) {
	t.Helper()
	s := newStandIn(t, filepath.Join(shortFolder(t), "notify"))
	t.Setenv("NOTIFY_SOCKET", s.address)
	return fromEnvironment(t), s
}

func fromEnvironment(t *testing.T) *service.Manager {
	t.Helper()
	m, err := service.FromEnvironment()
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range os.Environ() {
		for _, prefix := range []string{"NOTIFY_SOCKET=", "WATCHDOG_", "LISTEN_", "DEPLOYKEYD_FDS="} {
			if strings.HasPrefix(entry, prefix) {
				t.Errorf("the environment still has %s", entry)
			}
		}
	}
	return m
}
