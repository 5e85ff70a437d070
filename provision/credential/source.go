package credential

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// Source is where a credential comes from. Implementations are safe for
// concurrent use.
type Source interface {
	// Load reads the credential anew. Its error names the source and the next
	// step, and never quotes the secret.
	Load(context.Context) (Secret, error)
	// String names the source, such as "file /path" or "env NAME".
	String() string
}

// MaxSize is the largest credential file that is read, in bytes.
const MaxSize = 64 << 10

// File returns the source that reads the file at path: a regular file that
// belongs to root or to the user of this process and that nobody else may read
// or write. One newline at its end does not count.
func File(path string) Source { return file(path) }

type file string

func (f file) String() string { return "file " + string(f) }

func (f file) Load(ctx context.Context) (Secret, error) {
	if err := ctx.Err(); err != nil {
		return Secret{}, fmt.Errorf("credential file %s: %w", string(f), err)
	}
	secret, err := f.load()
	if err != nil {
		return Secret{}, fmt.Errorf("credential file %s: %w", string(f), err)
	}
	return secret, nil
}

func (f file) load() (Secret, error) {
	handle, err := openFile(string(f))
	if err != nil {
		return Secret{}, f.openError(err)
	}
	defer func() { _ = handle.Close() }()
	// The open file is checked, not its name: the name may point elsewhere by then.
	info, err := handle.Stat()
	if err != nil {
		return Secret{}, withoutPath(err)
	}
	if err := f.check(info); err != nil {
		return Secret{}, err
	}
	text, err := io.ReadAll(io.LimitReader(handle, MaxSize+1))
	if err != nil {
		return Secret{}, withoutPath(err)
	}
	defer clear(text)
	if len(text) > MaxSize {
		return Secret{}, fmt.Errorf("it has more than %d bytes: put only the token into it", MaxSize)
	}
	secret, err := parse(strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r"))
	if err != nil {
		return Secret{}, fmt.Errorf("%w: put the token into it, alone on one line", err)
	}
	return secret, nil
}

// check refuses a file that somebody else could read or replace.
func (f file) check(info fs.FileInfo) error {
	if !info.Mode().IsRegular() {
		return errors.New("it is not a regular file: put the token into a plain file")
	}
	if err := checkOwner(string(f), info); err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o077 != 0 {
		return fmt.Errorf("its mode is %04o, so that others than its owner may use it: chmod 600 %s", mode, string(f))
	}
	return nil
}

func (f file) openError(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errors.New("it does not exist: write the token into it, or correct the path in the configuration")
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("it may not be read by this user: chown it to uid %d and chmod 600 %s", os.Geteuid(), string(f))
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

// Env returns the source that reads the environment variable name.
func Env(name string) Source { return env(name) }

type env string

func (e env) String() string { return "env " + string(e) }

func (e env) Load(context.Context) (Secret, error) {
	text := os.Getenv(string(e))
	secret, err := parse(text)
	switch {
	case errors.Is(err, errEmpty):
		return Secret{}, fmt.Errorf("credential in environment variable %s: it is not set or empty: set it to the token", string(e))
	case err != nil:
		return Secret{}, fmt.Errorf("credential in environment variable %s: %w: set it to the token alone", string(e), err)
	}
	return secret, nil
}
