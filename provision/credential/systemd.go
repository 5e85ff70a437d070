package credential

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

const (
	// systemdPrefix is what systemd puts in front of the names of a directory's
	// files, for LoadCredential=deploykeyd:/etc/deploykeyd/credentials
	// (systemd.exec(5)).
	systemdPrefix = "deploykeyd_"
	// systemdFolder is that directory, as root sees it outside the unit.
	systemdFolder = "/etc/deploykeyd/credentials"
	// longestName is the longest name of a credential with its prefix: a file's.
	longestName = 255
)

var systemdName = regexp.MustCompile(`^[A-Za-z0-9_-][A-Za-z0-9._-]*$`)

// Systemd returns the source that reads the file name of the directory
// /etc/deploykeyd/credentials: within the unit, where the directory in
// $CREDENTIALS_DIRECTORY has it as deploykeyd_name, from there, and elsewhere
// from the directory itself, by the rules of File.
//
// What systemd hands to a unit belongs to root and lets the unit's user in by an
// access control list, whose mask shows as the group's bits of the mode, or
// belongs to that user. So the group may have the right to read there, and the
// directory is checked beside the file.
func Systemd(name string) Source { return systemd{name, systemdFolder} }

type systemd struct{ name, folder string }

func (s systemd) String() string { return "systemd " + s.name }

func (s systemd) Load(ctx context.Context) (Secret, error) { return load(ctx, s, "token") }

func (s systemd) remedy(what string) string {
	return fmt.Sprintf("put the %s into %s, alone on one line, and restart the unit", what, filepath.Join(s.folder, s.name))
}

func (s systemd) read(ctx context.Context, what string) ([]byte, error) {
	if !systemdName.MatchString(s.name) || len(systemdPrefix+s.name) > longestName {
		return nil, fmt.Errorf("%q is not the name of a credential: up to %d letters, digits, dots, _ and -, and no dot in front",
			s.name, longestName-len(systemdPrefix))
	}
	dir := os.Getenv("CREDENTIALS_DIRECTORY")
	if dir == "" {
		outside := file{path: filepath.Join(s.folder, s.name)}
		text, err := outside.read(ctx, what)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", outside.path, err)
		}
		return text, nil
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	path := filepath.Join(dir, systemdPrefix+s.name)
	text, err := s.readIn(dir, what)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return text, nil
}

// readIn reads the credential in the directory that systemd made.
func (s systemd) readIn(dir, what string) ([]byte, error) {
	if !filepath.IsAbs(dir) {
		return nil, errors.New("CREDENTIALS_DIRECTORY is no absolute path: unset it outside the unit")
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, s.openError(err)
	}
	defer func() { _ = root.Close() }()
	info, err := root.Stat(".")
	if err != nil {
		return nil, withoutPath(err)
	}
	if err := trusted(dir, info, 0o022); err != nil {
		return nil, err
	}
	handle, err := openWithin(root, systemdPrefix+s.name)
	if err != nil {
		return nil, s.openError(err)
	}
	defer func() { _ = handle.Close() }()
	info, err = handle.Stat()
	if err != nil {
		return nil, withoutPath(err)
	}
	if !info.Mode().IsRegular() {
		return nil, errors.New("it is not a regular file: unset CREDENTIALS_DIRECTORY outside the unit")
	}
	if err := trusted("it", info, 0o037); err != nil {
		return nil, err
	}
	return readText(handle, what)
}

// trusted refuses what has another owner than root or us, or bits of the mode
// that it may not have.
func trusted(what string, info fs.FileInfo, never fs.FileMode) error {
	const next = "let systemd make the directory (LoadCredential=), and unset CREDENTIALS_DIRECTORY outside the unit"
	if err := checkOwner(what, info); err != nil {
		return fmt.Errorf("%s belongs to neither root nor this user: %s", what, next)
	}
	if mode := info.Mode().Perm(); mode&never != 0 {
		return fmt.Errorf("%s has the mode %04o, so that others may use it: %s", what, mode, next)
	}
	return nil
}

func (s systemd) openError(err error) error {
	load := "LoadCredential=" + systemdPrefix[:len(systemdPrefix)-1] + ":" + s.folder
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("it does not exist: write %s, check that the unit has %s, and restart it; outside the unit unset CREDENTIALS_DIRECTORY", filepath.Join(s.folder, s.name), load)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("it may not be read by uid %d: only the unit's main process may; run this as root with CREDENTIALS_DIRECTORY unset", os.Geteuid())
	}
	return fmt.Errorf("%w: check that the unit has %s, and restart it", withoutPath(err), load)
}
