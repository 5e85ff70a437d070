package service

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// Leftovers are what the daemon and its commands made on this machine beside the
// configuration and the credentials.
type Leftovers struct {
	State   string // the directory of the journal
	Journal string // the journal's name in it
	All     bool   // everything else in State goes as well: it is nobody else's
	Run     string // the directory of the sockets
	// Files were written under these paths. Each is ours only when it begins with
	// Banner.
	Files  []string
	Banner string
}

// runEntries are what the daemon makes in the directory of the sockets.
func runEntries() []string { return []string{"agent.sock", "control.sock", "r", "verify"} }

// Remove removes what is left, one line to say for each, and keeps what is not
// ours. No symbolic link is followed out of the two directories. The daemon must
// not run.
func (l Leftovers) Remove(say func(string)) error {
	err := l.removeIn(l.State, func(name string) bool {
		return l.All || name == l.Journal || strings.HasPrefix(name, l.Journal+".")
	}, say)
	err = errors.Join(err, l.removeIn(l.Run, func(name string) bool {
		return slices.Contains(runEntries(), name)
	}, say))
	for _, path := range l.Files {
		err = errors.Join(err, l.removeFile(path, say))
	}
	return failed("remove what the daemon left", err, "run it as root; look at what is at that path")
}

// removeIn removes the entries of a directory that are ours; the directory stays.
func (l Leftovers) removeIn(dir string, ours func(name string) bool, say func(string)) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer func() { _ = root.Close() }()
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		if !ours(e.Name()) {
			say("kept " + filepath.Join(dir, e.Name()))
			continue
		}
		if removeErr := root.RemoveAll(e.Name()); removeErr != nil {
			err = errors.Join(err, removeErr)
			continue
		}
		say("removed " + filepath.Join(dir, e.Name()))
	}
	return err
}

// removeFile removes a file that begins with the banner.
func (l Leftovers) removeFile(path string, say func(string)) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	text := ""
	if info.Mode().IsRegular() {
		if text, err = readRegular(path, info); err != nil {
			return err
		}
	}
	if !strings.HasPrefix(text, l.Banner) {
		say("kept " + path + ", which this program did not write")
		return nil
	}
	if err := os.Remove(path); err != nil {
		return err
	}
	say("removed " + path)
	return nil
}
