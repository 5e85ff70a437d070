package journal

import (
	"errors"
	"fmt"
)

// The reasons why a journal cannot be opened. None of them changed the file.
var (
	// ErrLocked: another process has the journal open.
	ErrLocked = errors.New("in use by another process")
	// ErrDamaged: the file is not a journal, or is one no more.
	ErrDamaged = errors.New("damaged, or not a journal")
	// ErrNewerSchema: a newer deploykeyd wrote the journal.
	ErrNewerSchema = errors.New("written by a newer deploykeyd")
	// ErrNotRegular: the path names something that is not a regular file.
	ErrNotRegular = errors.New("not a regular file")
)

// ErrBadRecord is in the chain of an error about a record that cannot be read
// or stored.
var ErrBadRecord = errors.New("unusable record")

// Error is a failure of the journal as a whole or of one record in it.
type Error struct {
	Path string
	Err  error
	Next string // the next step for a person; may be empty
}

// Error names the file and the cause.
func (e *Error) Error() string { return fmt.Sprintf("journal %s: %v", e.Path, e.Err) }

// Unwrap returns the cause: one of this package's errors or the file system's.
func (e *Error) Unwrap() error { return e.Err }

// fail wraps err for path with the next step that its cause calls for.
func fail(path string, err error) *Error {
	e := &Error{Path: path, Err: err}
	switch {
	case errors.Is(err, ErrLocked):
		e.Next = "use the running deploykeyd, or stop it first: systemctl stop deploykeyd"
	case errors.Is(err, ErrDamaged):
		e.Next = "restore the file, or move it away to begin an empty journal; " +
			"keys that only it knew are then found on the forges by their titles alone"
	case errors.Is(err, ErrNewerSchema):
		e.Next = "run the deploykeyd that wrote it, or a later one"
	case errors.Is(err, ErrNotRegular):
		e.Next = "move away what is there, or configure another path"
	case errors.Is(err, ErrBadRecord):
		e.Next = "look for the key on the forge by hand, and report this with deploykeyd's version"
	default:
		e.Next = "check that the directory exists, is writable for deploykeyd and has free space"
	}
	return e
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrDamaged, fmt.Sprintf(format, args...))
}
