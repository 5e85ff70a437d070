package service_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/service"
)

// tree makes files below a folder.
func tree(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var list []string
	for _, e := range entries {
		list = append(list, e.Name())
	}
	return list
}

func TestRemoveLeftovers(t *testing.T) {
	t.Parallel()
	for _, all := range []bool{false, true} {
		dir := t.TempDir()
		state, run, other := filepath.Join(dir, "state"), filepath.Join(dir, "run"), filepath.Join(dir, "other")
		tree(t, dir, map[string]string{
			"state/journal.db": "", "state/journal.db.of-m1": "", "state/.aws/cache": "a token", "state/journal.dbx": "",
			"run/agent.sock": "", "run/r/1.sock": "", "run/verify/x/y": "", "run/elses": "",
			"ours": "# Written by x\nmore", "theirs": "Host *\n", "other/precious": "",
		})
		if err := os.Symlink(other, filepath.Join(state, "journal.db.of-m2")); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(filepath.Join(other, "precious"), filepath.Join(dir, "link")); err != nil {
			t.Fatal(err)
		}
		var said []string
		left := service.Leftovers{
			State: state, Journal: "journal.db", All: all, Run: run, Banner: "# Written by x",
			Files: []string{filepath.Join(dir, "ours"), filepath.Join(dir, "theirs"), filepath.Join(dir, "link"), filepath.Join(dir, "none")},
		}
		if err := left.Remove(func(line string) { said = append(said, line) }); err != nil {
			t.Fatal(err)
		}
		want := []string{".aws", "journal.dbx"}
		if all {
			want = nil
		}
		if diff := cmp.Diff(want, names(t, state)); diff != "" {
			t.Errorf("all %v: %s", all, diff)
		}
		if diff := cmp.Diff([]string{"elses"}, names(t, run)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"link", "other", "run", "state", "theirs"}, names(t, dir)); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]string{"precious"}, names(t, other)); diff != "" {
			t.Errorf("a link was followed: %s", diff)
		}
		for _, line := range []string{"removed " + filepath.Join(dir, "ours"), "kept " + filepath.Join(run, "elses")} {
			if !slices.Contains(said, line) {
				t.Errorf("%q was not said: %q", line, said)
			}
		}
	}
}

func TestRemoveLeftoversOfNothing(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	left := service.Leftovers{State: filepath.Join(dir, "none"), Journal: "journal.db", Run: filepath.Join(dir, "nor")}
	if err := left.Remove(func(line string) { t.Error(line) }); err != nil {
		t.Error(err)
	}
}

func TestRun(t *testing.T) {
	t.Parallel()
	refused, ended := errors.New("refused"), errors.New("ended")
	called := false
	err := service.Run(func() error { return refused }, func() error { called = true; return nil })
	if !errors.Is(err, refused) || called {
		t.Errorf("%v, main was called: %v", err, called)
	}
	if err := service.Run(func() error { return nil }, func() error { return ended }); !errors.Is(err, ended) {
		t.Error(err)
	}
	if err := service.Run(func() error { return nil }, func() error { return nil }); err != nil {
		t.Error(err)
	}
}
