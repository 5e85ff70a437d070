package unixsock_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"deploykeyd/agent/unixsock"
)

// stranger is a user that is neither root nor ourselves.
const stranger = 61234

// give makes path another user's, which only root can; so it returns false.
func give(t *testing.T, path string) bool {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Logf("%s cannot be given to another user: the cases of ownership need root", path)
		return false
	}
	if err := os.Lchown(path, stranger, stranger); err != nil {
		t.Fatal(err)
	}
	return true
}

// mkdir makes a directory with that mode, whatever the umask.
func mkdir(t *testing.T, path string, mode fs.FileMode) string {
	t.Helper()
	if err := errors.Join(os.MkdirAll(path, 0o755), os.Chmod(path, mode)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestSafeDirMakesDirectories(t *testing.T) {
	old := syscall.Umask(0o077)
	defer syscall.Umask(old)
	for _, mode := range []fs.FileMode{0o755, 0o700} {
		dir := filepath.Join(folder(t), "made", "too", "last")
		for range 2 { // the second time it is there
			if err := unixsock.SafeDir(dir, mode); err != nil {
				t.Fatal(err)
			}
		}
		for path, want := range map[string]fs.FileMode{dir: mode, filepath.Dir(dir): 0o755} {
			if info, err := os.Lstat(path); err != nil || info.Mode() != fs.ModeDir|want {
				t.Errorf("%s: mode %v, want %v (%v)", path, info.Mode(), want, err)
			}
		}
	}
}

func TestSafeDirLeavesStricterModes(t *testing.T) {
	dir := mkdir(t, filepath.Join(folder(t), "d"), 0o700)
	if err := unixsock.SafeDir(dir, 0o755); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func TestSafeDirRefusesWhatOthersMayChange(t *testing.T) {
	type refusal struct {
		path string
		mode fs.FileMode
		want string
	}
	base := folder(t)
	sub := func(name string) string { return filepath.Join(base, name) }
	file := sub("file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("circle", sub("circle")); err != nil {
		t.Fatal(err)
	}
	cases := map[string]refusal{
		"all may write":             {mkdir(t, sub("a"), 0o777), 0o755, "chmod 0755"},
		"the group may write":       {mkdir(t, sub("b"), 0o775), 0o755, "chmod 0755"},
		"sticky is not enough":      {mkdir(t, sub("c"), 0o777|fs.ModeSticky), 0o755, "chmod 0755"},
		"private, all may enter":    {mkdir(t, sub("d"), 0o711), 0o700, "chmod 0700"},
		"private, group may read":   {mkdir(t, sub("e"), 0o740), 0o700, "chmod 0700"},
		"parent: all may write":     {filepath.Join(mkdir(t, sub("f"), 0o777), "x"), 0o700, "chmod go-w " + sub("f")},
		"grandparent: group may":    {filepath.Join(mkdir(t, sub("g"), 0o770), "x", "y"), 0o755, "chmod go-w " + sub("g")},
		"behind a way up":           {sub("g") + "/../g/x", 0o755, "chmod go-w " + sub("g")},
		"a file":                    {file, 0o755, "no directory"},
		"a file as parent":          {filepath.Join(file, "x"), 0o755, "no directory"},
		"a link that leads nowhere": {sub("circle"), 0o755, "circles"},
	}
	open := mkdir(t, sub("sticky"), 0o777|fs.ModeSticky)
	mine := mkdir(t, sub("mine"), 0o700)
	others, below, link := mkdir(t, filepath.Join(open, "his"), 0o755), filepath.Join(open, "his", "run"), filepath.Join(open, "link")
	if err := os.Symlink(mine, link); err != nil {
		t.Fatal(err)
	}
	if give(t, others) && give(t, link) {
		cases["another's"] = refusal{others, 0o755, "belongs to user 61234"}
		cases["another's parent"] = refusal{below, 0o700, "belongs to user 61234"}
		cases["another's link to ours"] = refusal{link, 0o700, "belongs to user 61234"}
	}
	for name, c := range cases {
		err := unixsock.SafeDir(c.path, c.mode)
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.Contains(err.Error(), c.path) {
			t.Errorf("%s: got %v, want %q", name, err, c.want)
		}
	}
	for _, path := range []string{filepath.Join(sub("f"), "x"), filepath.Join(sub("g"), "x"), below} {
		if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s was made all the same: %v", path, err)
		}
	}
}

func TestSafeDirAllowsWhatOthersCannotChange(t *testing.T) {
	base := folder(t)
	sticky := mkdir(t, filepath.Join(base, "sticky"), 0o777|fs.ModeSticky)
	mine := mkdir(t, filepath.Join(base, "mine"), 0o700)
	for name, target := range map[string]string{"abs": mine, "rel": "../mine"} {
		link := filepath.Join(sticky, name)
		if err := os.Symlink(target, link); err != nil {
			t.Fatal(err)
		}
		for _, path := range []string{link, filepath.Join(link, "below"), link + "/../mine/./below//"} {
			if err := unixsock.SafeDir(path, 0o700); err != nil {
				t.Errorf("%s: %v", path, err)
			}
		}
	}
	for dir, want := range map[string]int{base: 2, sticky: 2, mine: 1} { // nothing was made elsewhere
		if entries, err := os.ReadDir(dir); err != nil || len(entries) != want {
			t.Errorf("%s has %v, %v", dir, entries, err)
		}
	}
	t.Chdir(base)
	if err := unixsock.SafeDir("sticky/new", 0o700); err != nil {
		t.Error(err)
	}
	if info, err := os.Lstat(filepath.Join(sticky, "new")); err != nil || info.Mode() != fs.ModeDir|0o700 {
		t.Errorf("relative: %v, %v", info, err)
	}
}

// The daemon's own directory may be root's as long as it need not be private.
func TestSafeDirOfRoot(t *testing.T) {
	if err := unixsock.SafeDir("/", 0o755); err != nil {
		t.Error(err)
	}
	if err := unixsock.SafeDir("/", 0o700); err == nil {
		t.Error("the root directory is taken for private")
	}
}
