package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"go.etcd.io/bbolt"
)

// create makes a journal without records beside path and puts it there with
// place, os.Link or os.Rename, only when it is complete on disk: whatever is
// killed at whatever moment, no half-made journal is ever found at path.
func create(path, machine string, place func(from, to string) error) (err error) {
	dir := filepath.Dir(path)
	temp, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-*") // mode 0600
	if err != nil {
		return err
	}
	defer func() {
		if rm := os.Remove(temp.Name()); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
			err = errors.Join(err, rm)
		}
	}()
	if err := temp.Close(); err != nil {
		return err
	}
	if err := initialise(temp.Name(), header{machine: machine, created: time.Now()}); err != nil {
		return err
	}
	if err := place(temp.Name(), path); err != nil {
		return err
	}
	return syncDir(dir)
}

// initialise makes the empty file at path a journal.
func initialise(path string, h header) error {
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		return err
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		if _, err := tx.CreateBucket([]byte(recordsBucket)); err != nil {
			return err
		}
		b, err := tx.CreateBucket([]byte(metaBucket))
		if err != nil {
			return err
		}
		for key, value := range h.values() {
			if err := b.Put([]byte(key), []byte(value)); err != nil {
				return err
			}
		}
		return nil
	})
	return errors.Join(err, db.Close())
}

// maxAside bounds the search for a free name.
const maxAside = 1000

// moveAside renames the journal at path, which belongs to machine, to a name
// that is not taken, and returns that name.
func moveAside(path, machine string) (string, error) {
	from, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	aside := path + ".of-" + machine
	for n := 2; ; n++ {
		// A link, unlike a rename, never replaces what has the name already.
		err := os.Link(path, aside)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrExist) || n > maxAside {
			return "", fmt.Errorf("set aside the journal of machine %s: %w", machine, err)
		}
		// An earlier run may have been killed between the link and the removal.
		if there, err := os.Lstat(aside); err == nil && os.SameFile(from, there) {
			break
		}
		aside = fmt.Sprintf("%s.of-%s.%d", path, machine, n)
	}
	if err := os.Remove(path); err != nil {
		return "", fmt.Errorf("set aside the journal of machine %s: %w", machine, err)
	}
	return aside, syncDir(filepath.Dir(path))
}
