package journal

import (
	"fmt"
	"path/filepath"
	"sync"
	"testing"

	"go.etcd.io/bbolt"

	"deploykeyd/agent"
	"deploykeyd/provision"
)

// TestPutsAtTheSameTimeShareSyncs counts transactions: each costs one fsync of
// the data and one of the meta page.
func TestPutsAtTheSameTimeShareSyncs(t *testing.T) {
	j, err := Open(filepath.Join(t.TempDir(), "journal.db"), "m-1", Options{})
	if err != nil {
		t.Fatal(err)
	}
	key, err := provision.PublicKeyFromBlob([]byte("\x00\x00\x00\x0bssh-ed25519key"))
	if err != nil {
		t.Fatal(err)
	}
	const count = 300
	before := transactions(t, j)
	var wg sync.WaitGroup
	for n := range count {
		wg.Go(func() {
			r := agent.Record{ForgeURL: "u", Target: provision.Target{Path: fmt.Sprint(n)}, Key: key, State: agent.Intended}
			if err := j.Put(r); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if used := transactions(t, j) - before; used > count/5 {
		t.Errorf("%d puts at the same time took %d transactions", count, used)
	}
	if err := j.Close(); err != nil {
		t.Fatal(err)
	}
}

// transactions returns how many have been committed to the file.
func transactions(t *testing.T, j *Journal) int {
	t.Helper()
	var id int
	if err := j.db.View(func(tx *bbolt.Tx) error { id = tx.ID(); return nil }); err != nil {
		t.Fatal(err)
	}
	return id
}
