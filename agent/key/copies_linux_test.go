package key_test

import (
	"bufio"
	"encoding/hex"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"deploykeyd/agent/key"
	"deploykeyd/agent/key/keyscan"
)

// erasing is the environment in which the program is built for users.
const erasing = "GOEXPERIMENT=runtimesecret"

// holder is a process that has one key and nothing else.
type holder struct {
	tb     testing.TB
	cmd    *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
	secret *keyscan.Secret
}

// buildHolder builds the program of testdata/holder without the race detector,
// which keeps memory of its own.
func buildHolder(tb testing.TB, env ...string) string {
	tb.Helper()
	program := filepath.Join(tb.TempDir(), "holder")
	build := exec.CommandContext(tb.Context(), "go", "build", "-buildvcs=false", "-o", program, "./testdata/holder")
	build.Env = append(append(os.Environ(), "CGO_ENABLED=0", "GOEXPERIMENT="), env...)
	if said, err := build.CombinedOutput(); err != nil {
		tb.Fatalf("build: %v\n%s", err, said)
	}
	return program
}

func startHolder(tb testing.TB, program string, kind key.Type) *holder {
	tb.Helper()
	if os.Geteuid() != 0 {
		tb.Fatal("only root may read another process's memory: run the tests as root (sudo make test)")
	}
	h := &holder{tb: tb, cmd: exec.CommandContext(tb.Context(), program, string(kind))}
	h.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	h.cmd.Stderr = os.Stderr
	var err error
	if h.in, err = h.cmd.StdinPipe(); err != nil {
		tb.Fatal(err)
	}
	out, err := h.cmd.StdoutPipe()
	if err != nil {
		tb.Fatal(err)
	}
	h.out = bufio.NewReader(out)
	if err := h.cmd.Start(); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(h.end)
	wire, err := hex.DecodeString(h.line())
	if err != nil {
		tb.Fatal(err)
	}
	if h.secret, err = keyscan.Extract(h.cmd.Process.Pid, wire); err != nil {
		tb.Fatal(err)
	}
	return h
}

// end lets the process end, which it does with its input.
func (h *holder) end() {
	_ = h.in.Close()
	_ = h.cmd.Wait()
}

func (h *holder) line() string {
	h.tb.Helper()
	line, err := h.out.ReadString('\n')
	if err != nil {
		h.tb.Fatal(err)
	}
	return strings.TrimSpace(line)
}

// do makes the process do something and returns how many copies it then has.
func (h *holder) do(command string) keyscan.Copies {
	h.tb.Helper()
	if _, err := io.WriteString(h.in, command+"\n"); err != nil {
		h.tb.Fatal(err)
	}
	if said := h.line(); said != "done" {
		h.tb.Fatalf("%s: %s", command, said)
	}
	copies, err := h.secret.Copies(h.cmd.Process.Pid)
	if err != nil {
		h.tb.Fatal(err)
	}
	return copies
}

// collect lets the collector free what is unused, and returns how many copies
// there are then: no more than some, if that comes true in a few collections. A
// thread that a signal interrupted while it signed has registers of that moment
// on its signal stack, until the runtime sends it another signal after a
// collection.
func (h *holder) collect(some keyscan.Copies) keyscan.Copies {
	h.tb.Helper()
	var c keyscan.Copies
	for range 20 {
		c = h.do("collect")
		if c.Private <= some.Private && c.Expanded <= some.Expanded {
			break
		}
	}
	return c
}

// signatures is how many the copies are counted after. RSA takes its time.
func signatures(kind key.Type) string {
	if kind == key.RSA3072 {
		return "sign 100"
	}
	return "sign 2000"
}

// G2: as the program is built for users, 2,000 signatures leave an Ed25519 key
// twice in memory: ours, and the one that the standard library keeps with its
// expanded form. Nothing remains of a wiped key of whatever type.
func TestG2KeyCopies(t *testing.T) {
	program := buildHolder(t, erasing)
	for _, kind := range key.Types() {
		t.Run(string(kind), func(t *testing.T) {
			h := startHolder(t, program, kind)
			h.do(signatures(kind))
			if kind == key.Ed25519 { // for the others there is no budget: their numbers come and go with every signature
				want := keyscan.Copies{Private: 2, Expanded: 1}
				if used := h.collect(want); used != want {
					t.Errorf("%+v in use, want %+v", used, want)
				}
			}
			h.do("wipe")
			if left := h.collect(keyscan.Copies{}); left != (keyscan.Copies{}) {
				t.Errorf("%+v after the wipe", left)
			}
		})
	}
}

// BenchmarkKeyCopies reports how many copies of a private key 2,000 signatures
// leave in memory (with RSA 100), as shipped and in a build that cannot erase,
// and how many are left of it once it is wiped.
func BenchmarkKeyCopies(b *testing.B) {
	for _, build := range []struct{ name, env string }{{"erasing", erasing}, {"plain", "GOEXPERIMENT="}} {
		program := buildHolder(b, build.env)
		for _, kind := range key.Types() {
			b.Run(build.name+"/"+string(kind), func(b *testing.B) {
				h := startHolder(b, program, kind)
				used := h.do(signatures(kind))
				for b.Loop() { // what counts is counted once
					h.do("wipe")
				}
				wiped := h.collect(keyscan.Copies{})
				h.end()
				b.ReportMetric(float64(used.Private), "copies")
				b.ReportMetric(float64(used.Expanded), "expanded")
				b.ReportMetric(float64(wiped.Private), "copies-wiped")
				b.ReportMetric(float64(wiped.Expanded), "expanded-wiped")
			})
		}
	}
}

// BenchmarkSign is one signature with an Ed25519 key; run it with
// GOEXPERIMENT=runtimesecret to see what erasing costs.
func BenchmarkSign(b *testing.B) {
	k, err := key.Generate(key.Ed25519)
	if err != nil {
		b.Fatal(err)
	}
	defer k.Wipe()
	for b.Loop() {
		if _, err := k.Sign([]byte("a login request"), ""); err != nil {
			b.Fatal(err)
		}
	}
}
