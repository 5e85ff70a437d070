package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"go.etcd.io/bbolt"
)

// DefaultTimeout is how long Open waits for another process to let go of the
// journal: enough for one that is just exiting.
const DefaultTimeout = time.Second

// Options adjust Open. The zero value is ready to use.
type Options struct {
	Timeout time.Duration // how long to wait for the lock; 0 is DefaultTimeout
}

// Open opens the journal of machine at path for reading and writing. Where
// there is none, or an empty file, it makes one with mode 0600; the directory
// must exist. Another machine's journal is renamed to "<path>.of-<machine>",
// its bytes untouched, and a new one is made: see Journal.SetAside.
//
// All errors are *Error and leave the file as it was.
func Open(path, machine string, o Options) (*Journal, error) {
	if !isMachine(machine) {
		return nil, &Error{
			Path: path, Err: fmt.Errorf("machine id %.40q: only letters, digits and . _ - are allowed", machine),
			Next: "set machine: in the configuration",
		}
	}
	deadline := deadlineOf(o)
	setAside := ""
	for {
		f, err := acquire(path, false, deadline)
		if errors.Is(err, fs.ErrNotExist) {
			err = create(path, machine, os.Link)
			if err == nil || errors.Is(err, fs.ErrExist) {
				continue // made, by this process or by another one
			}
		}
		if err != nil {
			return nil, fail(path, err)
		}
		j, aside, err := f.settle(machine)
		if err != nil {
			return nil, fail(path, err)
		}
		if aside != "" {
			setAside = aside
		}
		if j != nil {
			j.setAside = setAside
			return j, nil
		}
	}
}

// OpenReadOnly opens the journal at path for reading, whichever machine's it
// is. It never creates or changes a file. The error of a missing or empty file
// has fs.ErrNotExist in its chain; all errors are *Error.
func OpenReadOnly(path string) (*Journal, error) {
	f, err := acquire(path, true, deadlineOf(Options{}))
	if err != nil {
		return nil, fail(path, err)
	}
	if f.empty {
		f.close()
		return nil, fail(path, fmt.Errorf("the file is empty: %w", fs.ErrNotExist))
	}
	j, err := f.journal(true)
	if err != nil {
		return nil, fail(path, err)
	}
	return j, nil
}

func deadlineOf(o Options) time.Time {
	if o.Timeout == 0 {
		o.Timeout = DefaultTimeout
	}
	return time.Now().Add(o.Timeout)
}

// file is a locked journal file whose structure and header have been checked.
type file struct {
	*os.File
	path   string
	header header
	empty  bool // it has no bytes, and no header
}

func (f *file) close() { _ = f.Close() } // lets go of the lock

// acquire opens, locks and checks the file at path.
func acquire(path string, readOnly bool, deadline time.Time) (*file, error) {
	for {
		f, err := openLocked(path, readOnly, deadline)
		if err != nil {
			return nil, err
		}
		// While this process waited, the holder may have put another file there.
		same, err := stillThere(f, path)
		if err == nil && !same {
			_ = f.Close()
			continue
		}
		var info fs.FileInfo
		if err == nil {
			info, err = f.Stat()
		}
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		checked := &file{File: f, path: path, empty: info.Size() == 0}
		if checked.empty {
			return checked, nil
		}
		values, err := inspect(f, info.Size())
		if err == nil {
			checked.header, err = parseHeader(values)
		}
		if err != nil {
			_ = f.Close()
			return nil, err
		}
		return checked, nil
	}
}

// openLocked opens the regular file at path and takes its lock: exclusive, or
// shared for reading. bbolt's own lock is the same flock(2).
func openLocked(path string, readOnly bool, deadline time.Time) (*os.File, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return nil, err
	}
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("%w: %s", ErrNotRegular, info.Mode())
	}
	mode := os.O_RDWR
	if readOnly {
		mode = os.O_RDONLY
	}
	f, err := os.OpenFile(path, mode|openFlags, 0)
	if err != nil {
		return nil, err
	}
	if err := lock(f, !readOnly, deadline); err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}

// stillThere reports whether path still names the open file f.
func stillThere(f *os.File, path string) (bool, error) {
	mine, err := f.Stat()
	if err != nil {
		return false, err
	}
	there, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil && os.SameFile(mine, there), err
}

// settle turns f into an open journal of machine. Where f cannot become one, it
// changes what is at the path so that another acquire finds better: j is nil
// then, and aside the new name of a file that was moved. It consumes f.
func (f *file) settle(machine string) (j *Journal, aside string, err error) {
	switch {
	case f.empty:
		defer f.close()
		return nil, "", create(f.path, machine, os.Rename)
	case f.header.machine != machine:
		defer f.close()
		aside, err = moveAside(f.path, f.header.machine)
		return nil, aside, err
	}
	j, err = f.journal(false)
	return j, "", err
}

// journal hands the checked file to bbolt. It consumes f.
func (f *file) journal(readOnly bool) (*Journal, error) {
	db, err := bbolt.Open(f.path, 0o600, &bbolt.Options{
		ReadOnly: readOnly, Timeout: time.Second, NoStatistics: true,
		OpenFile: func(string, int, os.FileMode) (*os.File, error) { return f.File, nil },
	})
	if err != nil {
		return nil, err // bbolt has closed the file
	}
	db.MaxBatchDelay = batchDelay
	return &Journal{path: f.path, db: db, header: f.header}, nil
}
