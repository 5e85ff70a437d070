package agent

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
)

// silentForge does not answer for a while, and then tells the time.
type silentForge struct {
	provision.Forge

	asked   int
	answers bool
}

var errSilent = errors.New("no answer")

func (f *silentForge) Time(context.Context) (time.Time, error) {
	f.asked++
	<-time.After(10 * time.Second)
	if !f.answers {
		return time.Time{}, errSilent
	}
	return time.Now(), nil
}

// All who wait for the time of a forge that does not answer learn it together,
// and the next who ask ask anew.
func TestASilentForgeIsAskedOnceForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := &silentForge{}
		f := newForgeState(Forge{Forge: silent}, 16)
		began := time.Now()
		var waiting sync.WaitGroup
		for range 300 {
			waiting.Go(func() {
				if _, err := f.now(t.Context()); !errors.Is(err, errSilent) {
					t.Errorf("the time: %v", err)
				}
			})
		}
		waiting.Wait()
		if took := time.Since(began); silent.asked != 1 || took != 10*time.Second {
			t.Errorf("asked %d times in %v", silent.asked, took)
		}
		silent.answers = true
		if now, err := f.now(t.Context()); err != nil || now.IsZero() {
			t.Errorf("the time is %v, %v when the forge answers again", now, err)
		}
	})
}

// Who gives up speaks for himself: his end is no answer of the forge's.
func TestWhoGivesUpSpeaksForHimself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := &silentForge{}
		f := newForgeState(Forge{Forge: silent}, 16)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		var waiting sync.WaitGroup
		waiting.Go(func() { _, _ = f.now(ctx) })
		synctest.Wait()
		waiting.Go(func() { _, _ = f.now(t.Context()) })
		waiting.Wait()
		if silent.asked != 2 {
			t.Errorf("asked %d times, want once for each", silent.asked)
		}
	})
}
