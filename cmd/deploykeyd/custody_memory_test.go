package main_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"deploykeyd/agent/key/keyscan"
	"deploykeyd/provision"
)

// processStatus reads a number from /proc/pid/status; sizes are in KiB.
func processStatus(t *testing.T, pid int, field string) int {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "status"))
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "\n"+field+":")
	var n int
	if _, err := fmt.Sscan(rest, &n); err != nil {
		t.Fatalf("%s: %v", field, err)
	}
	return n
}

// mapping is one of /proc/pid/smaps (proc_pid_smaps(5)).
type mapping struct {
	head  string
	flags []string
}

func mappings(t *testing.T, pid int) []mapping {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "smaps"))
	if err != nil {
		t.Fatal(err)
	}
	var list []mapping
	head := ""
	for line := range strings.Lines(string(text)) {
		name, rest, _ := strings.Cut(line, ":")
		switch {
		case name == "VmFlags":
			list = append(list, mapping{head, strings.Fields(rest)})
		case strings.Contains(name, "-"): // the addresses
			head = strings.TrimSpace(line)
		}
	}
	return list
}

// G2: none of the daemon's memory can be swapped out, after it has registered,
// proven with git, collected and given memory back.
func TestG2AllMemoryIsLocked(t *testing.T) {
	t.Parallel()
	s := guardedSite(t)
	d := s.guarded(t, "+ipc_lock") // where the unit would set LimitMEMLOCK=infinity
	if code, _, stderr := s.do(t, "verify"); code != 0 {
		t.Fatalf("verify: exit status %d: %s", code, stderr)
	}
	quiet(t, d.status(t))
	pid := d.cmd.Process.Pid
	if lockedKiB, resident := processStatus(t, pid, "VmLck"), processStatus(t, pid, "VmRSS"); lockedKiB < resident {
		t.Errorf("%d KiB locked of %d KiB resident", lockedKiB, resident)
	}
	if swapped := processStatus(t, pid, "VmSwap"); swapped != 0 {
		t.Errorf("%d KiB are swapped out", swapped)
	}
	checked := 0
	for _, m := range mappings(t, pid) {
		if cannotBeSwapped(m) {
			continue
		}
		checked++
		if !slices.Contains(m.flags, "lo") {
			t.Errorf("not locked: %s, flags %v", m.head, m.flags)
		}
	}
	if checked < 10 {
		t.Errorf("only %d mappings were checked", checked)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// cannotBeSwapped names what the kernel never locks, since it never swaps it:
// its own pages, and those of getrandom's state in user space, which it drops.
func cannotBeSwapped(m mapping) bool {
	for _, name := range []string{"[vdso]", "[vvar]", "[vvar_vclock]", "[vsyscall]"} {
		if strings.HasSuffix(m.head, name) {
			return true
		}
	}
	return slices.Contains(m.flags, "dp")
}

// G2: 2,000 signatures for a build leave the key three times in memory: ours, the
// standard library's with its expanded form, and the parked one, which only a
// limit as low as the one here keeps out of secret memory.
func TestG2SigningLeavesNoCopies(t *testing.T) {
	t.Parallel()
	s := guardedSite(t)
	d := s.guarded(t, noRights)
	blob := s.sim.Forge(provision.Gitea).AllKeys()[0].Key.Blob()
	secret, err := keyscan.Extract(d.cmd.Process.Pid, blob)
	if err != nil {
		t.Fatal(err)
	}
	s.sign(t, blob, 2000)
	got, err := secret.Copies(d.cmd.Process.Pid)
	want := keyscan.Copies{Private: 3, Expanded: 1}
	// A thread that a signal interrupted while it signed has some registers of
	// then on its signal stack, until the next collection: one comes with some
	// hundreds of signatures.
	for range 10 {
		if err != nil || got == want {
			break
		}
		s.sign(t, blob, 400)
		got, err = secret.Copies(d.cmd.Process.Pid)
	}
	if err != nil {
		t.Fatal(err)
	}
	if got != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// sign has so many logins to Gitea signed, as the ssh of builds asks for them,
// over ten connections.
func (s *site) sign(t *testing.T, blob []byte, logins int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	const connections = 10
	public, err := ssh.ParsePublicKey(blob)
	if err != nil {
		t.Fatal(err)
	}
	login := ssh.Marshal(struct { // RFC 4252, section 7
		Session               []byte
		Message               byte
		User, Service, Method string
		Signed                bool
		Algorithm             string
		Key                   []byte
	}{make([]byte, 32), 50, "git", "ssh-connection", "publickey", true, public.Type(), blob})
	var group sync.WaitGroup
	for range connections {
		c := dial(ctx, t, filepath.Join(s.runDir(), "agent.sock"))
		group.Go(func() {
			defer c.Close()
			client := agent.NewClient(c)
			for range logins / connections {
				if _, err := client.Sign(public, login); err != nil {
					t.Errorf("sign: %v", err)
					return
				}
			}
		})
	}
	group.Wait()
}
