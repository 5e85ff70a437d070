package sshagent_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/sshagent"
	"deploykeyd/agent/unixsock"
)

func TestVerificationShowsOneKeyToUsAlone(t *testing.T) {
	w := newWorld(t, "61234") // we are no user of the published keys
	dir := folder(t)
	v, err := w.server.OpenVerification(dir, "hub", "acme/new", w.keys["foreign"])
	if err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]fs.FileMode{
		filepath.Dir(v.Path()): fs.ModeDir | 0o700, v.Path(): fs.ModeSocket | 0o600,
	} {
		if info, err := os.Lstat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	c, err := unixsock.Dial(t.Context(), v.Path())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"deploykeyd hub acme/new"}, listed(t, c)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	w.must(t, c, login{key: w.keys["api"].Public()}.request(), failure)
	w.must(t, c, login{key: w.keys["foreign"].Public(), user: "root"}.request(), failure)
	if n := v.Signatures(); n != 0 {
		t.Errorf("%d signatures before the first", n)
	}
	w.must(t, c, bind{host: w.hosts["hub"]}.request(t), success)
	w.must(t, c, login{key: w.keys["foreign"].Public()}.request(), signAnswer)
	if n := v.Signatures(); n != 1 {
		t.Errorf("%d signatures, want 1", n)
	}
	if line := w.log.last(t); line["socket"] != "verification" || line["repository"] != "acme/new" || line["forge"] != "hub" {
		t.Errorf("audit line %v", line)
	}
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	if err := v.Close(); err != nil {
		t.Errorf("the second time: %v", err)
	}
	hungUp(t, c)
	if left, err := os.ReadDir(dir); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

func TestOpenVerificationRefuses(t *testing.T) {
	w := newWorld(t)
	dir := folder(t)
	if _, err := w.server.OpenVerification(dir, "elsewhere", "acme/api", w.keys["foreign"]); err == nil {
		t.Error("unknown forge: no error")
	}
	if _, err := w.server.OpenVerification(filepath.Join(dir, "missing"), "hub", "acme/api", w.keys["foreign"]); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("missing folder: %v", err)
	}
	deep := filepath.Join(dir, "a-name-that-is-long-enough-to-pass-the-limit-of-a-socket-path-together-with-everything-else-around-it")
	if err := os.Mkdir(deep, 0o700); err != nil {
		t.Fatal(err)
	}
	if _, err := w.server.OpenVerification(deep, "hub", "acme/api", w.keys["foreign"]); err == nil {
		t.Error("long path: no error")
	}
	if left, err := os.ReadDir(deep); err != nil || len(left) != 0 {
		t.Errorf("left behind: %v, %v", left, err)
	}
}

// Those who use the published keys take no place of the proofs'.
func TestVerificationHasPlacesOfItsOwn(t *testing.T) {
	w := newWorld(t)
	for range 64 {
		w.must(t, w.dial(t), []byte{listRequest}, listAnswer)
	}
	hungUp(t, w.dial(t))
	v, err := w.server.OpenVerification(folder(t), "gitea", "acme/api", w.keys["gitea"])
	if err != nil {
		t.Fatal(err)
	}
	c, err := unixsock.Dial(t.Context(), v.Path())
	if err != nil {
		t.Fatal(err)
	}
	w.must(t, c, login{key: w.keys["gitea"].Public()}.request(), signAnswer)
	if err := v.Close(); err != nil {
		t.Error(err)
	}
}

func TestCleanVerifications(t *testing.T) {
	w := newWorld(t)
	dir, outside := folder(t), filepath.Join(t.TempDir(), "file")
	v, err := w.server.OpenVerification(dir, "gitea", "acme/api", w.keys["gitea"])
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = v.Close() }) // as if its process had been killed
	if err := errors.Join(
		os.WriteFile(outside, nil, 0o600), os.Mkdir(filepath.Join(dir, "other"), 0o700),
		os.Symlink(filepath.Dir(outside), filepath.Join(dir, "agent-link")),
	); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := sshagent.CleanVerifications(dir); err != nil {
			t.Fatal(err)
		}
	}
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 || left[0].Name() != "other" {
		t.Errorf("left: %v, %v", left, err)
	}
	if _, err := os.Stat(outside); err != nil {
		t.Errorf("a link was followed: %v", err)
	}
	if err := sshagent.CleanVerifications(filepath.Join(dir, "missing")); err != nil {
		t.Error(err)
	}
	if err := sshagent.CleanVerifications(outside); err == nil {
		t.Error("a file was cleaned up")
	}
}
