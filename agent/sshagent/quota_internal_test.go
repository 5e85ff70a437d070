package sshagent

import (
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/agent/unixsock"
)

func TestQuotaGivesABurstAndThenARate(t *testing.T) {
	for _, who := range []unixsock.Account{user(1001), group(1001)} {
		synctest.Test(t, func(t *testing.T) {
			q := &newLimits().quota
			signs := func(n int, who unixsock.Account, wait time.Duration) {
				t.Helper()
				for i := range n {
					took := q.spend(who)
					if took != wait {
						t.Fatalf("signature %d waits for %v, want %v", i, took, wait)
					}
					<-time.After(took)
				}
			}
			signs(signBurst, who, 0)
			signs(400, who, signEvery)
			signs(1, user(1002), 0)                                      // not even once
			signs(1, unixsock.Account{Group: !who.Group, ID: who.ID}, 0) // what has its number is another
			<-time.After(time.Second)                                    // gives 200 back
			signs(200, who, 0)
			signs(1, who, signEvery)
		})
	}
}

// However many ask at once, and whoever else asks meanwhile, each waits for those
// before it.
func TestQuotaIsALine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := &quota{every: time.Second, burst: 5}
		for n := range 5 + maxOfGroups {
			if wait, want := q.spend(group(7)), time.Duration(max(0, n-4))*time.Second; wait != want {
				t.Fatalf("signature %d waits for %v, want %v", n, wait, want)
			}
			if wait := q.spend(user(uint32(n))); wait != 0 {
				t.Fatalf("user %d waits for %v", n, wait)
			}
		}
	})
}
