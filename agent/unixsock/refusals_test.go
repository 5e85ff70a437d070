package unixsock_test

import (
	"fmt"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/unixsock"
)

func TestRefusalsAreCountedByUser(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r unixsock.Refusals
		untold := make(chan string, 100)
		flood := func(uid uint32, times int) (logged int) {
			for range times {
				if r.Count(uid, func(uid uint32, more int) { untold <- fmt.Sprint(uid, " ", more) }) {
					logged++
				}
			}
			return logged
		}
		expect := func(when string, want ...string) {
			t.Helper()
			synctest.Wait()
			var got []string
			for len(untold) > 0 {
				got = append(got, <-untold)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", when, diff)
			}
		}
		if a, b := flood(1001, 200), flood(1002, 60); a != 60 || b != 60 {
			t.Errorf("logged %d and %d", a, b)
		}
		wait(t, unixsock.RefusalWindow-1)
		expect("before a minute is over")
		wait(t, 1)
		expect("after a minute", "1001 140")
		if n := flood(1001, 1); n != 1 {
			t.Error("a new minute does not begin anew")
		}
		wait(t, unixsock.RefusalWindow)
		expect("after a quiet minute")

		logged := 0
		for uid := range uint32(1000) { // nobody fills it with many users either
			logged += flood(2000+uid, 1)
		}
		if logged != 64+60 {
			t.Errorf("%d lines of 1000 users", logged)
		}
		wait(t, unixsock.RefusalWindow)
		expect("of 1000 users", fmt.Sprint(uint32(unixsock.OtherUsers), " ", 1000-64-60))
	})
}
