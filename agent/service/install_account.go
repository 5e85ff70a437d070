package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
)

// CredentialsFolder is where root puts what {systemd: NAME} of the configuration
// names.
const CredentialsFolder = "/etc/deploykeyd/credentials"

// makeAccount makes the daemon's user where there is none.
func makeAccount(ctx context.Context, sysusers []byte, say func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	c := exec.CommandContext(ctx, "systemd-sysusers", "-")
	c.Stdin = bytes.NewReader(sysusers)
	if errors.Is(c.Err, exec.ErrNotFound) {
		c = exec.CommandContext(ctx, "useradd", "--system", "--user-group", "--no-create-home",
			"--home-dir", "/var/lib/"+Name, "--shell", "/usr/sbin/nologin", Name)
	}
	said, err := output(c)
	const alreadyThere = 9 // useradd(8)
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && c.Args[0] == "useradd" && exit.ExitCode() == alreadyThere {
		return nil
	}
	if err != nil {
		return err
	}
	if said != "" {
		say(said)
	}
	return nil
}

// makeFolders makes the directories of the configuration. Root alone may change
// them, and that of the credentials root alone may enter.
func makeFolders(say func(string)) error {
	if err := makeFolder("/etc/"+Name, 0o755, say); err != nil {
		return err
	}
	return makeFolder(CredentialsFolder, 0o700, say)
}

// makeFolder makes a directory of root's, and takes from one that is there the
// rights beyond mode.
func makeFolder(path string, mode fs.FileMode, say func(string)) error {
	err := os.Mkdir(path, mode)
	if err == nil {
		say("made " + path)
		return os.Chmod(path, mode) // the umask has taken from it
	}
	if !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Lstat(path)
	if err != nil {
		return err
	}
	if !info.IsDir() || !ownedByRoot(info) {
		return fmt.Errorf("%s is not a directory of root's", path)
	}
	now := info.Mode().Perm()
	if now&^mode == 0 {
		return nil
	}
	say(fmt.Sprintf("took from %s the rights that others had: %04o is now %04o", path, now, now&mode))
	return os.Chmod(path, now&mode)
}

// maxFile is the longest unit file or drop-in that is read, in bytes.
const maxFile = 64 << 10

// readRegular returns the text of a file that was looked at before.
func readRegular(path string, info fs.FileInfo) (string, error) {
	if !info.Mode().IsRegular() {
		return "", fmt.Errorf("%s is not a regular file", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	_ = f.Close()
	if err == nil && len(text) > maxFile {
		err = fmt.Errorf("%s has more than %d bytes", path, maxFile)
	}
	return string(text), err
}
