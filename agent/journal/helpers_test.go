package journal_test

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
	"deploykeyd/agent/journal"
	"deploykeyd/provision"
)

// helperEnv makes the test binary play the other process of a test.
const helperEnv = "DEPLOYKEYD_JOURNAL_TEST"

func TestMain(m *testing.M) {
	run := map[string]func(path string) error{"put": putForever, "hold": hold, "full": fullDisk}[os.Getenv(helperEnv)]
	if run == nil {
		m.Run()
		return
	}
	if err := run(os.Args[1]); err != nil {
		panic(err)
	}
}

// helper returns a command that runs this test binary in the named role.
func helper(t *testing.T, role, path string) *exec.Cmd {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), self, path)
	cmd.Env = append(os.Environ(), helperEnv+"="+role)
	cmd.Stderr = os.Stderr
	return cmd
}

// hold keeps the journal open until its standard input ends.
func hold(path string) error {
	j, err := journal.Open(path, "m-1", journal.Options{})
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, "open")
	bufio.NewScanner(os.Stdin).Scan()
	return j.Close()
}

func testKey(n int) provision.PublicKey {
	blob := append([]byte("\x00\x00\x00\x0bssh-ed25519\x00\x00\x00\x20"), fmt.Sprintf("%032d", n)...)
	k, err := provision.PublicKeyFromBlob(blob)
	if err != nil {
		panic(err)
	}
	return k
}

func record(n int) agent.Record {
	at := time.Date(2026, 3, 1, 12, 0, n%60, 0, time.UTC)
	return agent.Record{
		Forge: "forge", ForgeURL: "https://git.example.test", Kind: provision.Gitea,
		Target: provision.Target{Path: fmt.Sprintf("acme/r%d", n)}, Key: testKey(n),
		Title: "deploykeyd:ci:m-1:0123456789abcdef:20260302T120000Z", Access: provision.Read,
		State: agent.Intended, Boot: "b", IntendedAt: at, Expires: at.Add(24 * time.Hour),
	}
}

func open(t *testing.T, path, machine string) *journal.Journal {
	t.Helper()
	j, err := journal.Open(path, machine, journal.Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = j.Close() })
	return j
}

func mustPut(t *testing.T, j *journal.Journal, records ...agent.Record) {
	t.Helper()
	for _, r := range records {
		if err := j.Put(r); err != nil {
			t.Fatal(err)
		}
	}
}

func mustClose(t *testing.T, j *journal.Journal) {
	t.Helper()
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// wantRecords compares without regard to order.
func wantRecords(t *testing.T, j *journal.Journal, want ...agent.Record) {
	t.Helper()
	got, err := j.Records()
	if err != nil {
		t.Fatal(err)
	}
	want = append([]agent.Record(nil), want...)
	for _, s := range [][]agent.Record{got, want} {
		sort.Slice(s, func(a, b int) bool { return s[a].ID() < s[b].ID() })
	}
	if diff := cmp.Diff(want, got, cmp.Comparer(func(a, b provision.PublicKey) bool { return a == b })); diff != "" {
		t.Errorf("records (-want +got):\n%s", diff)
	}
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for _, e := range entries {
		all = append(all, e.Name())
	}
	return all
}

// made returns the path of a closed journal of machine with n records.
func made(t *testing.T, machine string, n int) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path, machine)
	for i := range n {
		mustPut(t, j, record(i))
	}
	mustClose(t, j)
	return path
}

// wantError checks the cause, and that the operator is told what to do.
func wantError(t *testing.T, err, want error) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("error is %v, want %v", err, want)
	}
	e, ok := errors.AsType[*journal.Error](err)
	if !ok || e.Next == "" || e.Path == "" {
		t.Errorf("error %#v does not say which file and what to do next", err)
	}
}
