package unixsock

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

func TestTheKernelsOverflowUserIsNeverLetIn(t *testing.T) {
	const moved = 4711
	path := filepath.Join(t.TempDir(), "overflowuid")
	if err := os.WriteFile(path, []byte("4711\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	u := NewUsers([]string{strconv.Itoa(moved), "1001"}, nil, nil)
	u.never = overflowOf(path)
	if u.Allows(Peer{UID: moved}) || u.Allows(Peer{UID: overflowUID}) || !u.Allows(Peer{UID: 1001}) {
		t.Errorf("with overflow uid %d", u.never)
	}
}

func TestOverflowOf(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		text string
		want uint32
	}{"plain": {"4294967294\n", 4294967294}, "empty": {"", overflowUID}, "negative": {"-1\n", overflowUID}} {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := overflowOf(path); got != c.want {
			t.Errorf("%s: %d, want %d", name, got, c.want)
		}
	}
	if got := overflowOf(filepath.Join(dir, "missing")); got != overflowUID {
		t.Errorf("missing: %d", got)
	}
	text, err := os.ReadFile(overflowFile)
	if want := strings.TrimSpace(string(text)); err != nil || strconv.Itoa(int(NewUsers(nil, nil, nil).never)) != want {
		t.Errorf("NewUsers does not ask the kernel, which says %q, %v", want, err)
	}
}
