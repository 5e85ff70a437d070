package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// File returns the source that reads the file at path: a regular file that
// belongs to root, to the user of this process or to a trusted user id, such as
// the daemon's where root acts in its place, and that nobody else may read or
// write. One newline at its end does not count.
func File(path string, trusted ...uint32) Source { return file{path, trusted} }

type file struct {
	path    string
	trusted []uint32
}

func (f file) String() string { return "file " + f.path }

func (f file) Load(ctx context.Context) (Secret, error) { return load(ctx, f, "token") }

func (f file) remedy(what string) string { return "put the " + what + " into it, alone on one line" }

func (f file) read(ctx context.Context, what string) ([]byte, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	handle, err := openFile(f.path)
	if err != nil {
		return nil, f.openError(err, what)
	}
	defer func() { _ = handle.Close() }()
	// The open file is checked, not its name: the name may point elsewhere by then.
	info, err := handle.Stat()
	if err != nil {
		return nil, withoutPath(err)
	}
	if err := f.check(info, what); err != nil {
		return nil, err
	}
	return readText(handle, what)
}

// readText reads an open file whose owner and mode are right.
func readText(from io.Reader, what string) ([]byte, error) {
	// One buffer from the start: one that grew would leave copies behind.
	buffer := make([]byte, MaxSize+1)
	n, err := io.ReadFull(from, buffer)
	switch {
	case err == nil:
		clear(buffer)
		return nil, fmt.Errorf("it has more than %d bytes: put only the %s into it", MaxSize, what)
	case !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF):
		clear(buffer)
		return nil, withoutPath(err)
	}
	return line(buffer[:n]), nil
}

// check refuses a file that somebody else could read or replace.
func (f file) check(info fs.FileInfo, what string) error {
	if !info.Mode().IsRegular() {
		return fmt.Errorf("it is not a regular file: put the %s into a plain file", what)
	}
	if err := checkOwner(f.path, info, f.trusted...); err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("its mode is %04o, so that others than its owner may use it: chmod 600 %s", mode, f.path)
	}
	return nil
}

func (f file) openError(err error, what string) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("it does not exist: write the %s into it, or correct the path in the configuration", what)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("it may not be read by this user: chown it to uid %d and chmod 600 %s", os.Geteuid(), f.path)
	}
	return withoutPath(err)
}

// withoutPath drops the operation and path that os puts in front, since the
// caller's text has them already.
func withoutPath(err error) error {
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return e.Err
	}
	return err
}
