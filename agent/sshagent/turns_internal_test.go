package sshagent

import (
	"context"
	"errors"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/unixsock"
)

// atRest finds all turns free.
func atRest(t *testing.T, turns *turns, free int) {
	t.Helper()
	turns.mu.Lock()
	defer turns.mu.Unlock()
	if turns.free != free || len(turns.lines) != 0 {
		t.Errorf("%d turns are free and %d users wait, want %d and none", turns.free, len(turns.lines), free)
	}
}

func TestTurnsGoRound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &turns{free: 1}
		if err := turns.enter(t.Context(), user(9)); err != nil {
			t.Fatal(err)
		}
		var got []unixsock.Account
		one, two, other := user(1), user(2), group(2)
		for _, who := range []unixsock.Account{one, one, one, one, two, other, other} {
			go func() {
				if err := turns.enter(t.Context(), who); err != nil {
					t.Error(err)
				}
				got = append(got, who)
				turns.leave()
			}()
			synctest.Wait()
		}
		turns.leave()
		synctest.Wait()
		if diff := cmp.Diff([]unixsock.Account{one, two, other, one, other, one, one}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		atRest(t, turns, 1)
	})
}

func TestTurnsLetAsManyWorkAsThereAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &turns{free: 3}
		var working, most atomic.Int32
		for uid := range uint32(50) {
			go func() {
				if err := turns.enter(t.Context(), user(uid%7)); err != nil {
					t.Error(err)
				}
				most.Store(max(most.Load(), working.Add(1)))
				<-time.After(time.Second)
				working.Add(-1)
				turns.leave()
			}()
		}
		<-time.After(50/3*time.Second + time.Millisecond)
		if most.Load() != 3 || working.Load() != 2 {
			t.Errorf("%d at once, the last %d at the end", most.Load(), working.Load())
		}
		<-time.After(time.Second)
		atRest(t, turns, 3)
	})
}

func TestTurnsAreNotWaitedForAfterTheEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		turns := &turns{free: 1}
		if err := turns.enter(t.Context(), user(1)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ends := make(chan error)
		for _, uid := range []uint32{1, 1, 2} {
			go func() { ends <- turns.enter(ctx, user(uid)) }()
		}
		synctest.Wait()
		cancel()
		for range 3 {
			if err := <-ends; !errors.Is(err, errStopping) {
				t.Errorf("ended with %v", err)
			}
		}
		turns.leave()
		atRest(t, turns, 1)
	})
}

// A turn that comes in the moment in which its request gives up is passed on. Which
// of both is first is chance.
func TestTurnsThatComeTooLateArePassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 1000 {
			turns := &turns{}
			ctx, cancel := context.WithCancel(t.Context())
			ended := make(chan error)
			go func() { ended <- turns.enter(ctx, user(2)) }()
			synctest.Wait()
			go turns.leave()
			cancel()
			if err := <-ended; err == nil {
				turns.leave()
			} else if !errors.Is(err, errStopping) {
				t.Fatalf("ended with %v", err)
			}
			synctest.Wait()
			atRest(t, turns, 1)
		}
	})
}

func TestTurnsAreNotLost(t *testing.T) {
	turns := &turns{free: 2}
	var all sync.WaitGroup
	for uid := range uint32(8) {
		for range 4 {
			all.Go(func() {
				for range 500 {
					ctx, cancel := context.WithCancel(t.Context())
					if rand.IntN(2) == 0 {
						go cancel()
					}
					if turns.enter(ctx, user(uid)) == nil {
						turns.leave()
					}
					cancel()
				}
			})
		}
	}
	all.Wait()
	atRest(t, turns, 2)
}
