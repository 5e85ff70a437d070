package journal

import (
	"errors"
	"fmt"
	"time"

	"go.etcd.io/bbolt"

	"deploykeyd/agent"
)

// schema is the layout that this package reads and writes.
const schema = 1

// batchDelay is how long a Put may wait for others to share its fsync. It is
// far below one request to a forge and of the order of one fsync.
const batchDelay = time.Millisecond

// The buckets, and the keys of the first.
const (
	metaBucket    = "meta"
	recordsBucket = "records"

	schemaKey  = "schema"
	machineKey = "machine"
	createdKey = "created"
)

// Journal is an open journal file. It holds the file's lock until Close. It is
// safe for concurrent use.
type Journal struct {
	path     string
	db       *bbolt.DB
	header   header
	setAside string
}

var _ agent.Journal = (*Journal)(nil)

// Machine returns the id of the machine whose records these are.
func (j *Journal) Machine() string { return j.header.machine }

// Created returns when the journal was made, by the machine's clock.
func (j *Journal) Created() time.Time { return j.header.created }

// SetAside returns the path of another machine's journal that Open moved out of
// the way, or "". The caller should warn: that machine may be alive, or its
// keys may be waiting for somebody to revoke them.
func (j *Journal) SetAside() string { return j.setAside }

// Records returns all records in no particular order. When some cannot be read,
// it returns the others together with an error that names each of those.
func (j *Journal) Records() ([]agent.Record, error) {
	var (
		records []agent.Record
		bad     []error
	)
	err := j.db.View(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(recordsBucket)).ForEach(func(id, value []byte) error {
			r, err := decode(id, value)
			if err != nil {
				bad = append(bad, err)
				return nil
			}
			records = append(records, r)
			return nil
		})
	})
	if err != nil {
		return nil, j.fail("read the records", err)
	}
	if len(bad) > 0 {
		return records, j.fail("read the records", errors.Join(bad...))
	}
	return records, nil
}

// Put stores r durably, replacing the record with its ID. Puts that come at the
// same time share one fsync. After an error the journal stays usable, and r is
// stored or not: a full disk leaves the record as it was before.
func (j *Journal) Put(r agent.Record) error {
	id, value, err := encode(r)
	if err != nil {
		return j.fail(fmt.Sprintf("put %q", id), err)
	}
	err = j.db.Batch(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(recordsBucket)).Put([]byte(id), value)
	})
	if err != nil {
		return j.fail(fmt.Sprintf("put %q", id), err)
	}
	return nil
}

// Forget removes the record with that ID durably; a missing one is no error.
func (j *Journal) Forget(id string) error {
	err := j.db.Batch(func(tx *bbolt.Tx) error {
		return tx.Bucket([]byte(recordsBucket)).Delete([]byte(id))
	})
	if err != nil {
		return j.fail(fmt.Sprintf("forget %q", id), err)
	}
	return nil
}

// Close waits for what is being written and releases the file. Later calls of
// the other methods fail.
func (j *Journal) Close() error {
	if err := j.db.Close(); err != nil {
		return j.fail("close", err)
	}
	return nil
}

func (j *Journal) fail(op string, err error) *Error {
	return fail(j.path, fmt.Errorf("%s: %w", op, err))
}
