package journal_test

import (
	"bufio"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"deploykeyd/agent/journal"
)

// putForever is the process that gets killed: it prints each record's number
// after its Put has returned.
func putForever(path string) error {
	j, err := journal.Open(path, "m-1", journal.Options{Timeout: 10 * time.Second})
	if err != nil {
		return err
	}
	var writers sync.WaitGroup
	for w := range 4 {
		writers.Go(func() {
			for n := w; ; n += 4 {
				r := record(n)
				r.Title = strings.Repeat("t", n*37%3000)
				if err := j.Put(r); err != nil {
					panic(err)
				}
				fmt.Fprintln(os.Stdout, n)
			}
		})
	}
	writers.Wait()
	return nil
}

func TestKilledAtAnyInstantLosesNothing(t *testing.T) {
	path := filepath.Join(t.TempDir(), "journal.db")
	acknowledged := map[int]bool{}
	for round := range 12 {
		cmd := helper(t, "put", path)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// Killed at once, while it opens, in the first rounds.
		lines := bufio.NewScanner(out)
		for range rand.IntN(1 + 30*round) {
			if !lines.Scan() {
				t.Fatal("the writer ended by itself")
			}
			acknowledged[number(t, lines.Text())] = true
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		for lines.Scan() {
			acknowledged[number(t, lines.Text())] = true
		}
		_ = cmd.Wait()

		j := open(t, path, "m-1")
		have := map[string]bool{}
		records, err := j.Records()
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range records {
			have[r.ID()] = true
		}
		for n := range acknowledged {
			if !have[record(n).ID()] {
				t.Fatalf("round %d: record %d was acknowledged and is gone", round, n)
			}
		}
		mustClose(t, j)
	}
	if len(acknowledged) == 0 {
		t.Fatal("no record was ever acknowledged")
	}
}

func number(t *testing.T, line string) int {
	t.Helper()
	var n int
	if _, err := fmt.Sscan(line, &n); err != nil {
		t.Fatal(err)
	}
	return n
}
