package journal_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.etcd.io/bbolt"

	"deploykeyd/agent/journal"
)

func TestLockedByAnotherProcess(t *testing.T) {
	path := made(t, "m-1", 1)
	cmd := helper(t, "hold", path)
	stdin, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := stdout.Read(make([]byte, 4)); err != nil {
		t.Fatal(err)
	}

	_, err = journal.Open(path, "m-1", journal.Options{Timeout: 50 * time.Millisecond})
	wantError(t, err, journal.ErrLocked)
	_, err = journal.Open(path, "m-2", journal.Options{Timeout: 50 * time.Millisecond})
	wantError(t, err, journal.ErrLocked) // nothing is set aside under somebody's feet
	_, err = journal.OpenReadOnly(path)
	wantError(t, err, journal.ErrLocked)

	// A holder that goes away within the timeout is waited for.
	waiting := make(chan error, 1)
	go func() {
		j, err := journal.Open(path, "m-1", journal.Options{Timeout: time.Minute})
		if err == nil {
			err = j.Close()
		}
		waiting <- err
	}()
	if err := errors.Join(stdin.Close(), cmd.Wait()); err != nil {
		t.Fatal(err)
	}
	if err := <-waiting; err != nil {
		t.Error(err)
	}
}

func TestManyOpenersMakeOneJournal(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	var wg sync.WaitGroup
	for n := range 12 {
		wg.Go(func() {
			j, err := journal.Open(path, "m-1", journal.Options{Timeout: time.Minute})
			if err == nil {
				err = errors.Join(j.Put(record(n)), j.Close())
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	j := open(t, path, "m-1")
	if all, err := j.Records(); err != nil || len(all) != 12 {
		t.Errorf("%d records of 12 are left (%v)", len(all), err)
	}
}

func TestEmptyFileIsNew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	if err := os.WriteFile(path, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	j := open(t, path, "m-1")
	mustPut(t, j, record(1))
	wantRecords(t, j, record(1))
	if info, err := os.Stat(path); err != nil || info.Mode() != 0o600 {
		t.Errorf("mode %v, error %v", info.Mode(), err)
	}
}

func TestOtherMachineIsSetAside(t *testing.T) {
	path := made(t, "m-other", 2)
	theirs := readFile(t, path)
	taken := path + ".of-m-other"
	if err := os.WriteFile(taken, []byte("older"), 0o600); err != nil {
		t.Fatal(err)
	}

	j := open(t, path, "m-1")
	if want := taken + ".2"; j.SetAside() != want {
		t.Fatalf("set aside as %q, want %q", j.SetAside(), want)
	}
	wantRecords(t, j)
	mustPut(t, j, record(7))
	mustClose(t, j)
	if readFile(t, taken) != "older" {
		t.Error("a file that had the name was overwritten")
	}
	if readFile(t, taken+".2") != theirs {
		t.Error("the other machine's journal was changed")
	}
	back, err := journal.OpenReadOnly(taken + ".2")
	if err != nil {
		t.Fatal(err)
	}
	wantRecords(t, back, record(0), record(1))
	mustClose(t, back)

	j = open(t, path, "m-1")
	wantRecords(t, j, record(7))
	if j.SetAside() != "" {
		t.Errorf("set aside again: %q", j.SetAside())
	}
}

func TestSettingAsideCanBeKilledHalfway(t *testing.T) {
	path := made(t, "m-other", 1)
	if err := os.Link(path, path+".of-m-other"); err != nil {
		t.Fatal(err)
	}
	j := open(t, path, "m-1")
	if want := path + ".of-m-other"; j.SetAside() != want {
		t.Errorf("set aside as %q, want %q", j.SetAside(), want)
	}
}

// setMeta changes an entry of the meta bucket of a closed journal.
func setMeta(t *testing.T, path, key, value string) {
	t.Helper()
	db, err := bbolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	err = db.Update(func(tx *bbolt.Tx) error { return tx.Bucket([]byte("meta")).Put([]byte(key), []byte(value)) })
	if err := errors.Join(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

func TestWhatIsNotOursStaysUntouched(t *testing.T) {
	replace := func(content string) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
	}
	truncate := func(size int64) func(*testing.T, string) {
		return func(t *testing.T, path string) {
			t.Helper()
			if err := os.Truncate(path, size); err != nil {
				t.Fatal(err)
			}
		}
	}
	meta := func(key, value string) func(*testing.T, string) {
		return func(t *testing.T, path string) { t.Helper(); setMeta(t, path, key, value) }
	}
	for name, test := range map[string]struct {
		spoil func(*testing.T, string)
		want  error
	}{
		"newer schema":       {meta("schema", "2"), journal.ErrNewerSchema},
		"far newer schema":   {meta("schema", "4000000000"), journal.ErrNewerSchema},
		"no schema":          {meta("schema", ""), journal.ErrDamaged},
		"schema zero":        {meta("schema", "0"), journal.ErrDamaged},
		"machine with slash": {meta("machine", "../../etc/x"), journal.ErrDamaged},
		"machine too long":   {meta("machine", strings.Repeat("m", 200)), journal.ErrDamaged},
		"no time":            {meta("created", "yesterday"), journal.ErrDamaged},
		"text":               {replace("this is no journal\n"), journal.ErrDamaged},
		"zeros":              {replace(strings.Repeat("\x00", 1<<15)), journal.ErrDamaged},
		"one byte":           {replace("x"), journal.ErrDamaged},
		"cut in page 1":      {truncate(5000), journal.ErrDamaged},
		"cut after metas":    {truncate(8192), journal.ErrDamaged},
		"cut in the tree":    {truncate(20480), journal.ErrDamaged},
		"other program's": {func(t *testing.T, path string) {
			t.Helper()
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			db, err := bbolt.Open(path, 0o600, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
		}, journal.ErrDamaged},
	} {
		t.Run(name, func(t *testing.T) {
			path := made(t, "m-1", 30)
			test.spoil(t, path)
			before := readFile(t, path)
			_, err := journal.Open(path, "m-1", journal.Options{})
			wantError(t, err, test.want)
			_, err = journal.OpenReadOnly(path)
			wantError(t, err, test.want)
			if readFile(t, path) != before || len(names(t, filepath.Dir(path))) != 1 {
				t.Error("the file or its folder was changed")
			}
		})
	}
}

func TestOpenRefuses(t *testing.T) {
	dir := t.TempDir()
	_, err := journal.Open(filepath.Join(dir, "missing", "journal.db"), "m-1", journal.Options{})
	wantError(t, err, os.ErrNotExist)
	if _, err := journal.Open(filepath.Join(dir, "journal.db"), "a/b", journal.Options{}); err == nil {
		t.Error("a machine id with a slash was taken")
	}
	if got := names(t, dir); got != nil {
		t.Errorf("refused, yet made %v", got)
	}
}

// TestDamageNeverCrashes overwrites and cuts a journal at many places. Open
// must refuse the result or give a journal that can be read and written.
func TestDamageNeverCrashes(t *testing.T) {
	path := made(t, "m-1", 40)
	whole := readFile(t, path)
	for _, patch := range []string{"\x00", "\xff", "\xff\xff\xff\xff\xff\xff\xff\xff", "\x01\x00\x00\x00"} {
		for at := 0; at+len(patch) < len(whole); at += 997 {
			content := whole[:at] + patch + whole[at+len(patch):]
			tryDamaged(t, path, content)
		}
	}
	for size := 1; size < len(whole); size += 1511 {
		tryDamaged(t, path, whole[:size])
	}
}

func tryDamaged(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	j, err := journal.OpenReadOnly(path)
	if err != nil {
		return
	}
	_, _ = j.Records() // a record may be spoilt: an error, not a crash
	mustClose(t, j)
	if readFile(t, path) != content {
		t.Fatal("reading changed the file")
	}
}
