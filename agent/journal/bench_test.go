package journal_test

import (
	"path/filepath"
	"sync"
	"testing"

	"deploykeyd/agent"
	"deploykeyd/agent/journal"
)

func putAll(tb testing.TB, j *journal.Journal, count int) {
	tb.Helper()
	var wg sync.WaitGroup
	for n := range count {
		r := record(n)
		r.State = agent.Registered
		wg.Go(func() {
			if err := j.Put(r); err != nil {
				tb.Error(err)
			}
		})
	}
	wg.Wait()
}

func BenchmarkPut300AtOnce(b *testing.B) {
	j, err := journal.Open(filepath.Join(b.TempDir(), "journal.db"), "m-1", journal.Options{})
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		putAll(b, j, 300)
	}
	if err := j.Close(); err != nil {
		b.Fatal(err)
	}
}
