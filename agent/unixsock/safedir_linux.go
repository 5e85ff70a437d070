package unixsock

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// maxLinks is how many symbolic links SafeDir follows, as many as the kernel.
const maxLinks = 40

// parentMode is what SafeDir gives to directories that it makes on the way.
const parentMode = 0o755

// SafeDir makes the directory at path with exactly the given permissions if it
// is missing, and proves that no other user can change what lies in it. The
// directory must belong to root or to our own user, and nobody else may write
// to it; a mode without bits for group and others asks for more: our own
// directory, which lets nobody else in at all. All directories above it must
// belong to root or to us as well, and may be writable for others only where
// the sticky bit keeps those from each other's entries. Symbolic links are
// followed if they are root's or ours. An error says what to do.
func SafeDir(path string, mode fs.FileMode) error {
	if err := safeDir(path, mode.Perm()); err != nil {
		return fmt.Errorf("directory %s is not safe to use: %w", path, err)
	}
	return nil
}

// safeDir goes down from the root. Each directory was proven before the next
// name in it is looked at, so nobody else can exchange what is behind a name.
func safeDir(path string, mode fs.FileMode) error {
	if !filepath.IsAbs(path) {
		here, err := os.Getwd()
		if err != nil {
			return err
		}
		path = here + "/" + path // not cleaned: ".." is to be seen behind a link
	}
	at, links, todo := "/", 0, names(path)
	if err := checkParent(at); err != nil {
		return err
	}
	for len(todo) > 0 {
		name, last := todo[0], len(todo) == 1
		todo = todo[1:]
		if name == ".." {
			at = filepath.Dir(at)
			continue
		}
		next := filepath.Join(at, name)
		target, err := ownLink(next)
		switch {
		case err != nil:
			return err
		case target != "":
			if links++; links > maxLinks {
				return fmt.Errorf("%w: choose a path without links that lead in circles", unix.ELOOP)
			}
			if filepath.IsAbs(target) {
				at = "/"
			}
			todo = append(names(target), todo...)
			continue
		case last:
			return checkLast(next, mode)
		}
		if err := checkParent(next); err != nil {
			return err
		}
		at = next
	}
	return checkLast(at, mode)
}

// names returns what path has between its slashes.
func names(path string) []string {
	var all []string
	for name := range strings.SplitSeq(path, "/") {
		if name != "" && name != "." {
			all = append(all, name)
		}
	}
	return all
}

// ownLink returns where the symbolic link at path leads to, or "" when path is
// none. Another user's link is an error.
func ownLink(path string) (string, error) {
	var st unix.Stat_t
	err := unix.Lstat(path, &st)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "", nil
	case err != nil:
		return "", &fs.PathError{Op: "lstat", Path: path, Err: err}
	case st.Mode&unix.S_IFMT != unix.S_IFLNK:
		return "", nil
	}
	if err := checkOwner(path, st.Uid); err != nil {
		return "", err
	}
	return os.Readlink(path)
}

func checkOwner(path string, uid uint32) error {
	if uid == 0 || int(uid) == os.Geteuid() {
		return nil
	}
	return fmt.Errorf("%s belongs to user %d, who may change what it leads to: "+
		"find out who made it, remove it or chown it to user %d, or choose another path", path, uid, os.Geteuid())
}

// checkParent proves that nobody else can exchange an entry of ours or root's
// in the directory at path.
func checkParent(path string) error {
	st, err := open(path, parentMode)
	if err != nil {
		return err
	}
	if err := checkOwner(path, st.Uid); err != nil {
		return err
	}
	if st.Mode&0o022 != 0 && st.Mode&unix.S_ISVTX == 0 {
		return fmt.Errorf("others may write to %s (mode %04o): chmod go-w %s, or choose a path elsewhere", path, st.Mode&0o7777, path)
	}
	return nil
}

// checkLast proves that nobody else can change what is in the directory.
func checkLast(path string, mode fs.FileMode) error {
	st, err := open(path, mode)
	if err != nil {
		return err
	}
	if err := checkOwner(path, st.Uid); err != nil {
		return err
	}
	private := mode&0o077 == 0
	switch {
	case private && int(st.Uid) != os.Geteuid():
		return fmt.Errorf("%s belongs to user %d: chown it to user %d", path, st.Uid, os.Geteuid())
	case private && st.Mode&0o077 != 0:
		return fmt.Errorf("others may enter %s (mode %04o): look at what is in it, then chmod %04o %s", path, st.Mode&0o7777, mode, path)
	case st.Mode&0o022 != 0:
		return fmt.Errorf("others may write to %s (mode %04o): remove what is in it, then chmod %04o %s", path, st.Mode&0o7777, mode, path)
	}
	return nil
}

// open returns what the directory at path is, which it makes when it is missing.
func open(path string, mode fs.FileMode) (st unix.Stat_t, err error) {
	const flags = unix.O_PATH | unix.O_DIRECTORY | unix.O_NOFOLLOW | unix.O_CLOEXEC
	made := false
	fd, err := unix.Open(path, flags, 0)
	if errors.Is(err, unix.ENOENT) {
		switch err := os.Mkdir(path, mode); {
		case err == nil:
			made = true
		case !errors.Is(err, fs.ErrExist): // by somebody who was quicker
			return st, err
		}
		fd, err = unix.Open(path, flags, 0)
	}
	if errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ELOOP) {
		return st, fmt.Errorf("%s is no directory: remove it, or choose another path", path)
	}
	if err != nil {
		return st, &fs.PathError{Op: "open", Path: path, Err: err}
	}
	defer func() { _ = unix.Close(fd) }()
	if made { // the umask has taken from it
		if err := chmodOpen(fd, mode); err != nil {
			return st, err
		}
	}
	if err := unix.Fstat(fd, &st); err != nil {
		return st, &fs.PathError{Op: "stat", Path: path, Err: err}
	}
	return st, nil
}
