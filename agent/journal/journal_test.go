package journal_test

import (
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"deploykeyd/agent"
	"deploykeyd/agent/journal"
	"deploykeyd/provision"
)

func TestRecordsSurviveReopening(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	j := open(t, path, "m-1")
	wantRecords(t, j)
	first, second := record(1), record(2)
	mustPut(t, j, first, second)
	first.State, first.RemoteID = agent.Registered, "77"
	first.Asked = agent.Moment{Forge: first.IntendedAt.Add(123 * time.Nanosecond), Local: first.IntendedAt}
	mustPut(t, j, first)
	if err := j.Forget(second.ID()); err != nil {
		t.Fatal(err)
	}
	if err := j.Forget("nobody"); err != nil {
		t.Errorf("forget of a missing record: %v", err)
	}
	wantRecords(t, j, first)
	mustClose(t, j)

	j = open(t, path, "m-1")
	wantRecords(t, j, first)
	if j.Machine() != "m-1" || time.Since(j.Created()) > time.Minute || j.SetAside() != "" {
		t.Errorf("machine %q, created %v, set aside %q", j.Machine(), j.Created(), j.SetAside())
	}
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if info.Mode() != 0o600 {
		t.Errorf("mode is %v, want 0600", info.Mode())
	}
	if got := names(t, filepath.Dir(path)); len(got) != 1 {
		t.Errorf("files left beside the journal: %v", got)
	}
}

func TestProjectAndRepositoryOfOneNameAreTwoRecords(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"), "m-1")
	repository, project := record(1), record(1)
	project.Target.Project = true
	mustPut(t, j, repository, project)
	wantRecords(t, j, repository, project)
}

func TestPutRefusesWhatCouldNotBeReadBack(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"), "m-1")
	for name, spoil := range map[string]func(*agent.Record){
		"no key":    func(r *agent.Record) { r.Key = provision.PublicKey{} },
		"no target": func(r *agent.Record) { r.Target.Path = "" },
		"no forge":  func(r *agent.Record) { r.ForgeURL = "" },
		"no state":  func(r *agent.Record) { r.State = "" },
		"too large": func(r *agent.Record) { r.Title = strings.Repeat("x", 70_000) },
		"bad time":  func(r *agent.Record) { r.Expires = time.Date(12345, 1, 1, 0, 0, 0, 0, time.UTC) },
	} {
		t.Run(name, func(t *testing.T) {
			r := record(1)
			spoil(&r)
			wantError(t, j.Put(r), journal.ErrBadRecord)
		})
	}
	wantRecords(t, j)
}

func TestBadStoredRecordIsNamed(t *testing.T) {
	path := made(t, "m-1", 1)
	good := record(0)
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error {
		b := tx.Bucket([]byte("records"))
		stored := b.Get([]byte(good.ID()))
		return errors.Join(
			b.Put([]byte("not-json"), []byte("{")),
			b.Put([]byte("no-key"), []byte(`{"forge_url":"u","target":{"path":"a/b"},"state":"intended","key":""}`)),
			b.Put([]byte("another"), stored),
			b.Put([]byte(good.ID()), append([]byte(`{"of_a_later_version":[1],`), stored[1:]...)),
		)
	})
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}

	j := open(t, path, "m-1")
	records, err := j.Records()
	wantError(t, err, journal.ErrBadRecord)
	for _, name := range []string{"not-json", "no-key", "another"} {
		if !strings.Contains(err.Error(), `"`+name+`"`) {
			t.Errorf("error %q does not name the record %s", err, name)
		}
	}
	if len(records) != 1 || records[0].ID() != good.ID() {
		t.Errorf("readable records are %v, want the good one", records)
	}
}

func TestCloseEndsEverything(t *testing.T) {
	j := open(t, filepath.Join(t.TempDir(), "journal.db"), "m-1")
	mustClose(t, j)
	if err := j.Put(record(1)); err == nil {
		t.Error("put after close succeeded")
	}
	if _, err := j.Records(); err == nil {
		t.Error("records after close succeeded")
	}
	mustClose(t, j)
}

func TestReadOnly(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "journal.db")
	_, err := journal.OpenReadOnly(path)
	wantError(t, err, fs.ErrNotExist)
	if got := names(t, dir); got != nil {
		t.Fatalf("opening nothing made %v", got)
	}
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = journal.OpenReadOnly(path)
	wantError(t, err, fs.ErrNotExist)

	path = made(t, "m-other", 3)
	before := readFile(t, path)
	a, err := journal.OpenReadOnly(path)
	if err != nil {
		t.Fatal(err)
	}
	b, err := journal.OpenReadOnly(path) // readers do not lock each other out
	if err != nil {
		t.Fatal(err)
	}
	wantRecords(t, b, record(0), record(1), record(2))
	if a.Machine() != "m-other" {
		t.Errorf("machine is %q", a.Machine())
	}
	if err := a.Put(record(4)); err == nil {
		t.Error("a read-only journal took a record")
	}
	mustClose(t, a)
	mustClose(t, b)
	if readFile(t, path) != before || len(names(t, filepath.Dir(path))) != 1 {
		t.Error("reading changed the file or its folder")
	}
}

// TestModel runs random operations against a map.
func TestModel(t *testing.T) {
	for seed := range uint64(8) {
		random := rand.New(rand.NewPCG(seed, 1))
		path := filepath.Join(t.TempDir(), "journal.db")
		j := open(t, path, "m-1")
		model := map[string]agent.Record{}
		check := func() {
			want := make([]agent.Record, 0, len(model))
			for _, r := range model {
				want = append(want, r)
			}
			wantRecords(t, j, want...)
		}
		for range 60 {
			switch n := random.IntN(10); {
			case n < 5: // a burst of puts and forgets of different records
				var wg sync.WaitGroup
				for id := range random.IntN(40) {
					r := record(id)
					r.RemoteID = strings.Repeat("x", random.IntN(3000))
					if random.IntN(3) > 0 {
						model[r.ID()] = r
						wg.Go(func() {
							if err := j.Put(r); err != nil {
								t.Error(err)
							}
						})
						continue
					}
					delete(model, r.ID())
					wg.Go(func() {
						if err := j.Forget(r.ID()); err != nil {
							t.Error(err)
						}
					})
				}
				wg.Wait()
			case n < 7:
				mustClose(t, j)
				j = open(t, path, "m-1")
			default:
				check()
			}
			if t.Failed() {
				t.Fatalf("seed %d", seed)
			}
		}
		check()
		mustClose(t, j)
	}
}
