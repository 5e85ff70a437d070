package service_test

import (
	"context"
	"encoding/hex"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

func dialUnix(path string) (net.Conn, error) {
	var d net.Dialer
	return d.DialContext(context.Background(), "unix", path)
}

// wantSignatures checks that the process signs with the keys that it, or its
// predecessor, has named.
func wantSignatures(t *testing.T, s *small, keys string) {
	t.Helper()
	signatures := strings.Fields(s.do("sign"))
	publics := strings.Fields(keys)
	if len(publics) != 3 || len(signatures) != len(publics) {
		t.Fatalf("%d signatures of %d keys", len(signatures), len(publics))
	}
	for i := range publics {
		wire, err := hex.DecodeString(publics[i])
		if err != nil {
			t.Fatal(err)
		}
		signed, err := hex.DecodeString(signatures[i])
		if err != nil {
			t.Fatal(err)
		}
		var signature ssh.Signature
		public, err := ssh.ParsePublicKey(wire)
		if err != nil || ssh.Unmarshal(signed, &signature) != nil || public.Verify([]byte("data"), &signature) != nil {
			t.Errorf("key %d signs wrong, %v", i, err)
		}
	}
}

// wantClean checks what the process says of its state: nothing that a child
// would get, and signals as they were.
func wantClean(t *testing.T, state string) {
	t.Helper()
	if !strings.HasPrefix(state, "inheritable [], ") || !strings.HasSuffix(state, " variables []") ||
		!strings.Contains(state, "SigBlk:0000000000000000") {
		t.Error(state)
	}
}

// A process executes another in place, many times: the same pid, socket, keys
// and service manager. Clients that come meanwhile wait, and are served.
func TestReexecKeepsEverything(t *testing.T) {
	program := buildSuccessor(t)
	dir := shortFolder(t)
	path := filepath.Join(dir, "s")
	manager := newStandIn(t, filepath.Join(dir, "notify"))
	s := startSuccessor(t, program, "X=kept NOTIFY_SOCKET="+manager.address+" WATCHDOG_USEC=5000000 WATCHDOG_PID=$$")
	if got := s.line(); got != "inherited:" {
		t.Fatal(got)
	}
	keys := s.do("begin " + path)
	s.done("ready 0")
	first := manager.receive()
	before := s.do("state")
	wantClean(t, before)
	if !strings.Contains(before, `X "kept", watchdog 2.5s`) {
		t.Error(before)
	}
	for generation := range 5 {
		const clients = 20
		var queue []waiting
		for range clients {
			queue = append(queue, connect(t, path))
		}
		if got := s.do("again"); got != "inherited: agent.sock keys" {
			t.Fatal(got)
		}
		if got := s.do("take " + path); got != keys {
			t.Fatalf("the successor's keys are %s, not %s", got, keys)
		}
		s.done("serve " + strconv.Itoa(clients))
		for _, w := range queue {
			w.want(t, s.pid())
		}
		s.done("ready " + strconv.Itoa(generation))
		if got := manager.receive(); got.pid != first.pid || got.text != "READY=1\nSTATUS=generation "+strconv.Itoa(generation) {
			t.Errorf("the manager hears %+v", got)
		}
		if generation == 0 {
			before = s.do("state") // with the taken parking instead of the made one
			wantClean(t, before)
		}
	}
	wantSignatures(t, s, keys)
	if after := s.do("state"); after != before {
		t.Errorf("after executions:\n%s\nbefore:\n%s", after, before)
	}
}

func TestFailedReexecChangesNothing(t *testing.T) {
	dir := shortFolder(t)
	path := filepath.Join(dir, "s")
	s := startSuccessor(t, buildSuccessor(t), "X=1")
	s.line()
	keys := s.do("begin " + path)
	before := s.do("state")
	noProgram := filepath.Join(dir, "program")
	if err := os.WriteFile(noProgram, []byte("\x7fELF and no more"), 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{
		filepath.Join(dir, "missing"): "no such file or directory",
		dir:                           "permission denied",
		noProgram:                     "exec format error",
	} {
		if got := s.do("again " + path); got != "error: execute "+path+" in place: "+want {
			t.Errorf("got %q, want %s", got, want)
		}
	}
	client := connect(t, path)
	s.done("serve 1")
	client.want(t, s.pid())
	wantSignatures(t, s, keys)
	if after := s.do("state"); after != before {
		t.Errorf("after failed executions:\n%s\nbefore:\n%s", after, before)
	}
	s.done("children")
	if got := s.do("again"); got != "inherited: agent.sock keys" { // and then one that does not fail
		t.Fatal(got)
	}
	if got := s.do("take " + path); got != keys {
		t.Errorf("the successor's keys are %s, not %s", got, keys)
	}
}

// Killed, a daemon leaves its socket and its keys with the service manager, who
// hands them to the next one.
func TestCrashIsSurvivedThroughTheStore(t *testing.T) {
	program := buildSuccessor(t)
	dir := shortFolder(t)
	path := filepath.Join(dir, "s")
	manager := newStandIn(t, filepath.Join(dir, "notify"))
	s := startSuccessor(t, program, "NOTIFY_SOCKET="+manager.address)
	s.line()
	keys := s.do("begin " + path)
	s.done("store")
	var stored []*os.File
	for _, name := range []string{"agent.sock", "keys"} {
		m := manager.receive()
		if m.text != "FDSTORE=1\nFDNAME="+name || len(m.files) != 1 {
			t.Fatalf("%q with %d files", m.text, len(m.files))
		}
		stored = append(stored, m.files[0])
	}
	s.kill()
	client := connect(t, path)
	s = startSuccessor(t, program, "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=agent.sock:keys NOTIFY_SOCKET="+manager.address, stored...)
	if got := s.line(); got != "inherited: agent.sock keys" {
		t.Fatal(got)
	}
	if got := s.do("take " + path); got != keys {
		t.Fatalf("the successor's keys are %s, not %s", got, keys)
	}
	s.done("serve 1")
	client.want(t, s.pid())
	wantSignatures(t, s, keys)
	wantClean(t, s.do("state"))
	if got := s.do("again"); got != "inherited: agent.sock keys" { // a reload after a crash
		t.Fatal(got)
	}
	if got := s.do("take " + path); got != keys {
		t.Errorf("the successor's keys are %s, not %s", got, keys)
	}
}

// memoryFile returns a file for others to inherit.
func memoryFile(t *testing.T) *os.File {
	t.Helper()
	fd, err := unix.MemfdCreate("test", unix.MFD_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	f := os.NewFile(uintptr(fd), "test")
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Of several descriptors with one name all but one are closed.
func TestDuplicatesOfANameAreClosed(t *testing.T) {
	program := buildSuccessor(t)
	one, two := memoryFile(t), memoryFile(t)
	single := startSuccessor(t, program, "LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a", one)
	double := startSuccessor(t, program, "LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:a", one, two)
	for _, s := range []*small{single, double} {
		if got := s.line(); got != "inherited: a" {
			t.Fatal(got)
		}
	}
	if want, got := single.do("state"), double.do("state"); got != want {
		t.Errorf("with two of one name %s\nwith one %s", got, want)
	}
}

func TestInheritedDescriptors(t *testing.T) {
	program := buildSuccessor(t)
	two := []*os.File{memoryFile(t), memoryFile(t)}
	long := strings.Repeat("x", 256)
	for name, c := range map[string]struct {
		environment string
		files       []*os.File
		want        string
	}{
		"none":                    {"X=1", nil, "inherited:"},
		"two":                     {"LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=b:a", two, "inherited: a b"},
		"without names":           {"LISTEN_PID=$$ LISTEN_FDS=1", two, "inherited: unknown"},
		"of one name":             {"LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:a", two, "inherited: a"},
		"zero":                    {"LISTEN_PID=$$ LISTEN_FDS=0 LISTEN_FDNAMES=", nil, "inherited:"},
		"another process's":       {"LISTEN_PID=1 LISTEN_FDS=999999999 LISTEN_FDNAMES=a", two, "inherited:"},
		"nobody's":                {"LISTEN_FDS=2", two, "inherited:"},
		"handed over":             {"DEPLOYKEYD_FDS=$$:4=a:3=b=c", two, "inherited: a b=c"},
		"handed over to another":  {"DEPLOYKEYD_FDS=1:4=a", two, "inherited:"},
		"handed over to nobody":   {"DEPLOYKEYD_FDS=4=a", two, "inherited:"},
		"handed over, none":       {"DEPLOYKEYD_FDS=$$", nil, "inherited:"},
		"both ways":               {"LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a DEPLOYKEYD_FDS=$$:4=b", two, "inherited: a b"},
		"negative":                {"LISTEN_PID=$$ LISTEN_FDS=-1", two, `error: LISTEN_FDS is "-1"`},
		"huge":                    {"LISTEN_PID=$$ LISTEN_FDS=4097", two, `error: LISTEN_FDS is "4097"`},
		"far too huge":            {"LISTEN_PID=$$ LISTEN_FDS=99999999999999999999", two, "error: LISTEN_FDS is"},
		"no number":               {"LISTEN_PID=$$ LISTEN_FDS=2x", two, "error: LISTEN_FDS is"},
		"missing number":          {"LISTEN_PID=$$", two, "error: LISTEN_FDS is"},
		"more than there are":     {"LISTEN_PID=$$ LISTEN_FDS=40", two, "error: descriptor 5 is not"},
		"the runtime's":           {"LISTEN_PID=$$ LISTEN_FDS=1", nil, "error: descriptor 3 is not"},
		"too many names":          {"LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=a:b", two, "error: LISTEN_FDNAMES has 2 names"},
		"too few names":           {"LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a", two, "error: LISTEN_FDNAMES has 1 names"},
		"an empty name":           {"LISTEN_PID=$$ LISTEN_FDS=2 LISTEN_FDNAMES=a:", two, "error: LISTEN_FDNAMES: "},
		"a long name":             {"LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=" + long, two, "error: LISTEN_FDNAMES: "},
		"handed over twice":       {"DEPLOYKEYD_FDS=$$:3=a:3=b", two, "error: descriptor 3 is not an inherited one"},
		"standard input":          {"DEPLOYKEYD_FDS=$$:0=a", two, "error: DEPLOYKEYD_FDS has the entry"},
		"negative, handed over":   {"DEPLOYKEYD_FDS=$$:-3=a", two, "error: DEPLOYKEYD_FDS has the entry"},
		"huge, handed over":       {"DEPLOYKEYD_FDS=$$:4294967299=a", two, "error: DEPLOYKEYD_FDS has the entry"},
		"not open, handed over":   {"DEPLOYKEYD_FDS=$$:2147483647=a", two, "error: descriptor 2147483647 is not open"},
		"no name, handed over":    {"DEPLOYKEYD_FDS=$$:3", two, "error: DEPLOYKEYD_FDS has the entry"},
		"too many, handed over":   {"DEPLOYKEYD_FDS=$$" + strings.Repeat(":9=a", 4097), two, "error: DEPLOYKEYD_FDS has the entry"},
		"a relative address":      {"NOTIFY_SOCKET=run/notify", nil, "error: NOTIFY_SOCKET is"},
		"a machine's address":     {"NOTIFY_SOCKET=vsock:2:1234", nil, "error: NOTIFY_SOCKET is"},
		"half an abstract one":    {"NOTIFY_SOCKET=@", nil, "error: NOTIFY_SOCKET is"},
		"a long address":          {"NOTIFY_SOCKET=/" + long, nil, "error: NOTIFY_SOCKET has 257 bytes"},
		"no time":                 {"WATCHDOG_USEC=soon", nil, "error: WATCHDOG_USEC is"},
		"no time at all":          {"WATCHDOG_USEC=0", nil, "error: WATCHDOG_USEC is"},
		"a time that never comes": {"WATCHDOG_USEC=9223372036854775807", nil, "error: WATCHDOG_USEC is"},
	} {
		t.Run(name, func(t *testing.T) {
			s := startSuccessor(t, program, c.environment, c.files...)
			got := strings.Replace(s.line(), "the environment is not a service manager's: ", "", 1)
			if wantError := strings.HasPrefix(c.want, "error: "); !wantError && got != c.want || wantError && !strings.HasPrefix(got, c.want) {
				t.Fatalf("got %q, want %q", got, c.want)
			} else if wantError {
				if !strings.HasSuffix(got, "systemctl, or without these variables") {
					t.Errorf("%q says no next step", got)
				}
				return
			}
			if strings.Contains(name, "nobody") || strings.Contains(name, "another") {
				return // whose descriptors they are does not matter here
			}
			if state := s.do("state"); !strings.HasSuffix(state, " variables []") || name != "without names" && !strings.HasPrefix(state, "inheritable [], ") {
				t.Error(state)
			}
		})
	}
}
