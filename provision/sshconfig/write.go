package sshconfig

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// fileMode lets every user read the files: they hold public facts only.
const fileMode = 0o644

// Write renders both files, writes o.KnownHosts and then the ssh_config to
// path, and reports whether anything was changed. Each appears whole or not at
// all, with mode 0644; missing folders are made with mode 0755. A file that has
// the right text already is not touched.
func Write(path string, hosts []Host, o Options) (changed bool, err error) {
	config, err := Config(hosts, o)
	if err != nil {
		return false, err
	}
	known, err := KnownHosts(hosts)
	if err != nil {
		return false, err
	}
	for _, f := range []struct{ path, text string }{{o.KnownHosts, known}, {path, config}} {
		wrote, err := writeFile(f.path, []byte(f.text))
		changed = changed || wrote
		if err != nil {
			return changed, fmt.Errorf("ssh config: write %s: %w", f.path, err)
		}
	}
	return changed, nil
}

func writeFile(path string, text []byte) (changed bool, err error) {
	if same(path, text) {
		return false, nil
	}
	dir := filepath.Dir(path)
	if err := makeDir(dir); err != nil {
		return false, err
	}
	// The name ends so that no Include of *.conf takes a half-written file.
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-*")
	if err != nil {
		return false, err
	}
	_, err = temp.Write(text)
	err = errors.Join(err, temp.Chmod(fileMode), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return false, errors.Join(err, os.Remove(temp.Name()))
	}
	return true, syncDir(dir)
}

// same reports whether path is a regular file that needs no change. Another
// user's does: he could change it at any time.
func same(path string, text []byte) bool {
	info, err := os.Lstat(path)
	if err != nil || info.Mode() != fileMode || info.Size() != int64(len(text)) || !ownedByUs(info) {
		return false
	}
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	there, err := io.ReadAll(io.LimitReader(f, int64(len(text))+1))
	_ = f.Close()
	return err == nil && bytes.Equal(there, text)
}

// makeDir makes dir, readable for every user whatever the umask.
func makeDir(dir string) error {
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	const dirMode = 0o755
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return err
	}
	return os.Chmod(dir, dirMode)
}
