package key_test

import (
	"bufio"
	"bytes"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"deploykeyd/agent/key"
	"deploykeyd/agent/key/keyscan"
)

func newParking(tb testing.TB) *key.Parking {
	tb.Helper()
	p, err := key.NewParking()
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = p.Close() })
	return p
}

func duplicate(tb testing.TB, f *os.File) *os.File {
	tb.Helper()
	fd, err := unix.FcntlInt(f.Fd(), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	return os.NewFile(uintptr(fd), "parking")
}

func parkedKeys(tb testing.TB, p *key.Parking, kinds ...key.Type) []*key.Key {
	tb.Helper()
	var keys []*key.Key
	for _, kind := range kinds {
		k, err := key.Generate(kind)
		if err != nil {
			tb.Fatal(err)
		}
		tb.Cleanup(k.Wipe)
		if err := p.Park(k); err != nil {
			tb.Fatal(err)
		}
		keys = append(keys, k)
	}
	return keys
}

// Another process that is given the file signs with the very keys.
func TestSuccessorSignsWithParkedKeys(t *testing.T) {
	p := newParking(t)
	keys := parkedKeys(t, p, key.Types()...)
	successor := duplicate(t, p.File())
	defer func() { _ = successor.Close() }()
	for _, k := range keys {
		k.Wipe()
	}
	if err := p.Close(); err != nil {
		t.Fatal(err)
	}
	out, err := parkerCommand(t, "sign", successor).Output()
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	if len(lines) != len(keys) {
		t.Fatalf("%d keys signed, want %d", len(lines), len(keys))
	}
	for i, line := range lines {
		var wire, signed []byte
		if _, err := fmt.Sscanf(line, "%x %x", &wire, &signed); err != nil {
			t.Fatal(err)
		}
		var signature ssh.Signature
		public, err := ssh.ParsePublicKey(keys[i].Public())
		if err != nil || ssh.Unmarshal(signed, &signature) != nil || public.Verify([]byte("data"), &signature) != nil {
			t.Errorf("%v: the successor's signature is wrong", keys[i])
		}
	}
}

// Killed while it parks and clears, a process leaves every key that it had
// parked and none of which it had cleared, and at most the one that it was at.
func TestParkedKeysSurviveTheKill(t *testing.T) {
	for round := range 25 {
		p := newParking(t)
		c := parkerCommand(t, "forever", p.File())
		out, err := c.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		state := map[string]string{}
		lines := bufio.NewScanner(out)
		follow := func() {
			what, wire, _ := strings.Cut(lines.Text(), " ")
			state[wire] = what
		}
		for range 40 + 3*round {
			if !lines.Scan() {
				t.Fatal("the process ended by itself")
			}
			follow()
		}
		_ = c.Process.Kill()
		for lines.Scan() {
			follow()
		}
		_ = c.Wait()
		checkSurvivors(t, p, state)
	}
}

func checkSurvivors(t *testing.T, p *key.Parking, state map[string]string) {
	t.Helper()
	_, keys, err := key.OpenParking(duplicate(t, p.File()))
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range keys {
		wire := hex.EncodeToString(k.Public())
		switch state[wire] {
		case "parked", "begin", "clear":
		default:
			t.Errorf("%v is there; it was %q", k, state[wire])
		}
		delete(state, wire)
	}
	for wire, what := range state {
		if what == "parked" {
			t.Errorf("key %s was parked and is not there", wire)
		}
	}
}

// Secret memory fits the usual limit on locked memory. Below, and where the
// kernel holds the process to it, the memory is an ordinary memfd.
func TestParkingUnderALimit(t *testing.T) {
	held := []string{"setpriv", "--bounding-set=-ipc_lock", "--inh-caps=-ipc_lock"}
	for _, c := range []struct {
		limit int
		want  bool
	}{{8 << 20, true}, {1 << 20, true}, {1<<20 - 4096, false}, {64 << 10, false}, {0, false}} {
		wrapper := append([]string{"prlimit", "--memlock=" + strconv.Itoa(c.limit) + ":"}, held...)
		out, err := parkerCommand(t, "secret", nil, wrapper...).Output()
		if err != nil {
			t.Fatalf("%v (prlimit and setpriv are of the package util-linux)", err)
		}
		if got := strings.TrimSpace(string(out)); got != strconv.FormatBool(c.want) {
			t.Errorf("under a limit of %d bytes secret is %s, want %v", c.limit, got, c.want)
		}
	}
}

// A child that the daemon starts must not get the parking by accident.
func TestParkingIsClosedOnExec(t *testing.T) {
	p := newParking(t)
	f := duplicate(t, p.File())
	if _, err := unix.FcntlInt(f.Fd(), unix.F_SETFD, 0); err != nil {
		t.Fatal(err)
	}
	q, _, err := key.OpenParking(f)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = q.Close() }()
	for _, f := range []*os.File{p.File(), q.File()} {
		if flags, err := unix.FcntlInt(f.Fd(), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("flags %d, %v", flags, err)
		}
	}
}

// unlocked is the holder program in a process that may lock no memory, so that
// its parking is one that can be searched.
func unlocked(tb testing.TB, program string) string {
	tb.Helper()
	script := filepath.Join(tb.TempDir(), "unlocked")
	text := "#!/bin/sh\nexec prlimit --memlock=0: setpriv --bounding-set=-ipc_lock --inh-caps=-ipc_lock " + program + " \"$@\"\n"
	if err := os.WriteFile(script, []byte(text), 0o755); err != nil {
		tb.Fatal(err)
	}
	return script
}

// G2: parked in ordinary memory a key is there once more, parked in secret memory
// nothing shows it, and cleared and wiped it is nowhere.
func TestG2ParkedKeyCopies(t *testing.T) {
	program := buildHolder(t, erasing)
	ordinary := unlocked(t, program)
	for name, c := range map[string]struct {
		program string
		kind    key.Type
		want    keyscan.Copies
	}{
		"ordinary memory":        {ordinary, key.Ed25519, keyscan.Copies{Private: 3, Expanded: 1}},
		"ordinary memory, ECDSA": {ordinary, key.ECDSAP256, keyscan.Copies{}},
		"secret memory":          {program, key.Ed25519, keyscan.Copies{Private: 2, Expanded: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			h := startHolder(t, c.program, c.kind)
			h.do("sign 10")
			h.do("park")
			if used := h.collect(c.want); c.kind == key.Ed25519 && used != c.want {
				t.Errorf("%+v while parked, want %+v", used, c.want)
			}
			h.do("clear")
			h.do("wipe")
			if left := h.collect(keyscan.Copies{}); left != (keyscan.Copies{}) {
				t.Errorf("%+v after the wipe", left)
			}
		})
	}
}

// resident returns how many KiB of the parking this process has mapped.
func resident(tb testing.TB) int {
	tb.Helper()
	text, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		tb.Fatal(err)
	}
	total, ours := 0, false
	for line := range bytes.Lines(text) {
		words := strings.Fields(string(line))
		switch {
		case strings.Contains(words[0], "-"):
			ours = bytes.Contains(line, []byte("secretmem")) || bytes.Contains(line, []byte("deploykeyd-keys"))
		case ours && words[0] == "Rss:":
			n, err := strconv.Atoi(words[1])
			if err != nil {
				tb.Fatal(err)
			}
			total += n
		}
	}
	return total
}

// BenchmarkParking parks keys and takes them over again, and reports the memory
// of the parking that is resident then.
func BenchmarkParking(b *testing.B) {
	for kind, n := range map[key.Type]int{key.Ed25519: 300, key.ECDSAP256: 300, key.RSA3072: 30} {
		b.Run(fmt.Sprintf("%d_%s", n, kind), func(b *testing.B) {
			keys := make([]*key.Key, n)
			for i := range keys {
				keys[i], _ = key.Generate(kind)
			}
			for b.Loop() {
				before := resident(b)
				p := newParking(b)
				for _, k := range keys {
					if err := p.Park(k); err != nil {
						b.Fatal(err)
					}
				}
				f := duplicate(b, p.File())
				_ = p.Close()
				q, again, err := key.OpenParking(f)
				if err != nil || len(again) != len(keys) {
					b.Fatalf("%d keys, %v", len(again), err)
				}
				b.ReportMetric(float64(resident(b)-before), "resident-KiB")
				_ = q.Close()
			}
		})
	}
}

// The memory budget of a daemon with 300 keys leaves this much for parking them.
func TestParkingIsSmall(t *testing.T) {
	before := resident(t)
	p := newParking(t)
	for range 300 {
		parkedKeys(t, p, key.Ed25519)
	}
	if got := resident(t) - before; got == 0 || got > max(16, os.Getpagesize()>>10) {
		t.Errorf("300 keys take %d KiB, want at most 16", got)
	}
}
