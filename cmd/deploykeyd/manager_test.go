package main_test

import (
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// manager is a service manager as sd_notify(3) and sd_listen_fds(3) describe
// it: it hears what the daemon says, holds its descriptors and hands them to the
// next process.
type manager struct {
	site   *site
	path   string
	socket *net.UnixConn

	mu    sync.Mutex
	held  map[string]*os.File
	heard []string
}

func newManager(t *testing.T, s *site) *manager {
	t.Helper()
	m := &manager{site: s, path: filepath.Join(s.dir, "notify"), held: map[string]*os.File{}}
	var err error
	if m.socket, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	heard := make(chan struct{})
	go func() {
		defer close(heard)
		m.listen()
	}()
	t.Cleanup(func() {
		_ = m.socket.Close()
		<-heard
		for _, f := range m.held {
			_ = f.Close()
		}
	})
	return m
}

func (m *manager) listen() {
	text, rights := make([]byte, 4096), make([]byte, 4096)
	for {
		n, r, _, _, err := m.socket.ReadMsgUnix(text, rights)
		if err != nil {
			return
		}
		m.hear(string(text[:n]), descriptors(rights[:r]))
	}
}

func (m *manager) hear(message string, files []*os.File) {
	m.mu.Lock()
	defer m.mu.Unlock()
	lines := strings.Split(strings.TrimSpace(message), "\n")
	m.heard = append(m.heard, lines...)
	name := ""
	for _, l := range lines {
		if n, ok := strings.CutPrefix(l, "FDNAME="); ok {
			name = n
		}
	}
	if slices.Contains(lines, "FDSTOREREMOVE=1") {
		if f := m.held[name]; f != nil {
			_ = f.Close()
		}
		delete(m.held, name)
	}
	for _, f := range files {
		if !slices.Contains(lines, "FDSTORE=1") || m.held[name] != nil {
			_ = f.Close()
			continue
		}
		m.held[name] = f
	}
}

func descriptors(rights []byte) []*os.File {
	var files []*os.File
	messages, _ := unix.ParseSocketControlMessage(rights)
	for i := range messages {
		fds, _ := unix.ParseUnixRights(&messages[i])
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "held"))
		}
	}
	return files
}

// start runs the daemon as a unit, with what the manager holds for it.
func (m *manager) start(t *testing.T) *daemon {
	t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	names := slices.Sorted(maps.Keys(m.held))
	run := m.site.program(t.Context(), "run", "--log-level", "debug")
	// A shell knows its process id, which the program then has.
	c := exec.CommandContext(context.WithoutCancel(t.Context()), "/bin/sh", append([]string{"-c", `LISTEN_PID=$$ exec "$0" "$@"`}, run.Args...)...)
	c.Env = append(slices.Clone(run.Env), "NOTIFY_SOCKET="+m.path, "WATCHDOG_USEC=3000000",
		fmt.Sprintf("LISTEN_FDS=%d", len(names)), "LISTEN_FDNAMES="+strings.Join(names, ":"))
	for _, name := range names {
		c.ExtraFiles = append(c.ExtraFiles, m.held[name])
	}
	return m.site.launch(t, c)
}

// await waits until the daemon has said something since the last time.
func (m *manager) await(t *testing.T, line string) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		m.mu.Lock()
		said := slices.Contains(m.heard, line)
		m.mu.Unlock()
		if said {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the service manager did not hear %s", line)
		}
	}
}

// names returns what the manager holds.
func (m *manager) names() []string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return slices.Sorted(maps.Keys(m.held))
}
