package unixsock_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/unixsock"
)

// wait lets d pass on the bubble's clock.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

// silent is a name service that never answers.
func silent(ctx context.Context, _ string) (uint32, error) {
	<-ctx.Done()
	return 0, ctx.Err()
}

func TestUsersAsksRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{users: map[string]uint32{}, groups: map[string]uint32{}}
		u := unixsock.NewUsers([]string{"jenkins"}, []string{"builders"}, d.resolver(), nil)
		if d.asked != 0 {
			t.Error("asked before anybody came")
		}
		var wg sync.WaitGroup
		for i := range uint32(200) {
			wg.Go(func() {
				if unixsock.Admits(u, of(1001+i, 1, 2001+i)) {
					t.Error("a stranger was let in")
				}
			})
		}
		wg.Wait()
		if d.asked != 2 {
			t.Errorf("200 strangers at once caused %d look-ups, want one round of 2", d.asked)
		}
		d.users["jenkins"], d.groups["builders"] = 1001, 2001 // made after boot
		if unixsock.Admits(u, of(1001, 1)) || unixsock.Admits(u, of(5, 2001)) {
			t.Error("known without being asked for")
		}
		wait(t, 5*time.Second-1)
		if unixsock.Admits(u, of(1001, 1)) || d.asked != 2 {
			t.Error("asked again too soon")
		}
		wait(t, 1)
		if !unixsock.Admits(u, of(5, 1, 2001)) || !unixsock.Admits(u, of(1001, 1)) {
			t.Error("those that have appeared are not let in")
		}
		if d.asked != 4 {
			t.Errorf("%d look-ups, want 4", d.asked)
		}
	})
}

// Strangers do not make more rounds by coming one after the other, however long
// a round takes.
func TestStrangersCauseOneRoundInFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var rounds atomic.Int32
		hang := func(ctx context.Context, name string) (uint32, error) {
			rounds.Add(1)
			return silent(ctx, name)
		}
		u := unixsock.NewUsers(nil, []string{"builders"}, unixsock.Resolver{Group: hang}, nil)
		var wg sync.WaitGroup
		for range 300 {
			wg.Go(func() { _ = unixsock.Admits(u, of(1001, 1, 2, 3)) })
			wait(t, 100*time.Millisecond)
		}
		wg.Wait()
		if n := rounds.Load(); n != 6 {
			t.Errorf("%d rounds in 30 seconds, want 6", n)
		}
	})
}

func TestUsersForgetsAnIDThatWasGivenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{users: map[string]uint32{"dynamic": 61000}, groups: map[string]uint32{"dynamic": 62000}}
		u := unixsock.NewUsers([]string{"dynamic"}, []string{"dynamic"}, d.resolver(), nil)
		in := func() string {
			return fmt.Sprint(unixsock.Admits(u, of(61000, 1)), unixsock.Admits(u, of(61001, 1)), unixsock.Admits(u, of(5, 62000)), unixsock.Admits(u, of(5, 1, 62001)))
		}
		if got := in(); got != "true false true false" {
			t.Fatal(got)
		}
		d.users["dynamic"], d.groups["dynamic"] = 61001, 62001
		wait(t, time.Minute)
		if got := in(); got != "false true false true" {
			t.Error(got)
		}
		delete(d.users, "dynamic")
		delete(d.groups, "dynamic")
		wait(t, time.Minute)
		if got := in(); got != "false false false false" {
			t.Error(got)
		}
	})
}

func TestUsersKeepsItsAnswerWhileNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{users: map[string]uint32{"jenkins": 1001}, groups: map[string]uint32{"builders": 2001}}
		u := unixsock.NewUsers([]string{"jenkins"}, []string{"builders"}, d.resolver(), nil)
		if err := u.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.err = errors.New("the directory server is down")
		wait(t, time.Hour)
		if diff := cmp.Diff(map[uint32]bool{1001: true, 1002: false}, admitted(u, 1001, 1002)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		if !unixsock.Admits(u, of(5, 1, 2001)) {
			t.Error("a group is forgotten")
		}
	})
}

// A name service that hangs, as LDAP does when its server is gone, holds up
// those it has to be asked for, and for a few seconds only.
func TestALookupThatHangsHoldsUpNobodyElse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		user := func(ctx context.Context, name string) (uint32, error) {
			switch {
			case down.Load() || name == "ldap":
				return silent(ctx, name)
			case name == "jenkins":
				return 1001, ctx.Err()
			}
			return 0, unixsock.ErrUnknownName
		}
		group := func(ctx context.Context, name string) (uint32, error) {
			if down.Load() {
				return silent(ctx, name)
			}
			return 2001, ctx.Err()
		}
		u := unixsock.NewUsers([]string{"ldap", "jenkins", "root", "1003"}, []string{"builders", "2003"},
			unixsock.Resolver{User: user, Group: group}, nil)
		if err := u.Refresh(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err) // of the name ldap alone, which did not keep the others back
		}
		down.Store(true)
		listed := map[string]unixsock.Peer{
			"root": of(0, 0), "uid": of(1003, 1), "gid": of(1004, 2003), "group": of(1005, 1, 2003),
		}
		known := map[string]unixsock.Peer{"user": of(1001, 1), "member": of(1006, 1, 2001)}
		expect := func(when string, peers map[string]unixsock.Peer, want bool, most time.Duration) {
			t.Helper()
			for name, p := range peers {
				began := time.Now()
				if got := unixsock.Admits(u, p); got != want {
					t.Errorf("%s, %s: %v", when, name, got)
				}
				if took := time.Since(began); took > most {
					t.Errorf("%s, %s: took %v, want %v at most", when, name, took, most)
				}
			}
		}
		stranger := func() { go func() { _ = unixsock.Admits(u, of(1, 1)) }(); synctest.Wait() }

		wait(t, 10*time.Second)
		stranger()
		expect("during a round", listed, true, 0)
		expect("during a round", known, true, 0)
		wait(t, 2*time.Minute)
		stranger()
		expect("when all is old", listed, true, 0)
		expect("when all is old", known, true, 500*time.Millisecond)
		wait(t, time.Hour)
		for name, p := range known {
			expect("much later", map[string]unixsock.Peer{name: p}, true, 500*time.Millisecond)
		}
		wait(t, 3*time.Second)
		expect("after the round", known, true, 0)
		wait(t, time.Minute)
		expect("for a stranger", map[string]unixsock.Peer{"stranger": of(1, 1)}, false, 3*time.Second)
	})
}

// So many names that are never answered that not all are asked for at a time.
func TestARoundEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 100 {
			names = append(names, fmt.Sprintf("name%d", i))
		}
		u := unixsock.NewUsers(names, names, unixsock.Resolver{User: silent, Group: silent}, nil)
		began := time.Now()
		if unixsock.Admits(u, of(1001, 1)) {
			t.Error("let in")
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
		began = time.Now()
		if err := u.Refresh(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
			t.Error(err)
		}
		if took := time.Since(began); took != 3*time.Second {
			t.Errorf("Refresh took %v", took)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began = time.Now()
		if err := u.Refresh(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) != time.Second {
			t.Errorf("with a deadline: %v after %v", err, time.Since(began))
		}
		wait(t, 3*time.Second) // the round goes on: others may be waiting for it
	})
}

// Names that are never answered take all places in a round, but not in each.
func TestNamesThatHangStarveNoOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 40 {
			names = append(names, fmt.Sprintf("ldap%d", i))
		}
		resolve := func(ctx context.Context, name string) (uint32, error) {
			if name == "jenkins" {
				return 1001, ctx.Err()
			}
			return silent(ctx, name)
		}
		u := unixsock.NewUsers(append(names, "jenkins"), nil, unixsock.Resolver{User: resolve}, nil)
		for rounds := 1; ; rounds++ {
			if _, ok := u.Admit(of(1001, 1)); ok {
				if rounds != 3 { // 16 names, 16 names, 8 names and this one
					t.Errorf("known after %d rounds", rounds)
				}
				break
			}
			if rounds == 3 {
				t.Fatal("not known after 3 rounds")
			}
			wait(t, 5*time.Second)
		}
	})
}

// A look-up that does not end, as of a program that cannot be killed, is left to
// itself: rounds end, and it is not asked a second time meanwhile.
func TestALookupThatDoesNotEndIsLeftToItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked atomic.Int32
		free := make(chan struct{})
		resolve := func(_ context.Context, name string) (uint32, error) {
			if name == "jenkins" {
				return 1001, nil
			}
			asked.Add(1)
			<-free
			return 1002, nil
		}
		u := unixsock.NewUsers([]string{"stuck", "jenkins"}, nil, unixsock.Resolver{User: resolve}, nil)
		began := time.Now()
		if _, ok := u.Admit(of(1001, 1)); !ok || time.Since(began) != 4*time.Second {
			t.Errorf("%v after %v", ok, time.Since(began))
		}
		wait(t, time.Minute)
		began = time.Now()
		if _, ok := u.Admit(of(1002, 1)); ok || time.Since(began) != 0 || asked.Load() != 1 {
			t.Errorf("%v after %v, asked %d times", ok, time.Since(began), asked.Load())
		}
		if _, ok := u.Admit(of(1001, 1)); !ok {
			t.Error("the other name is forgotten")
		}
		close(free)
		wait(t, time.Minute)
		if _, ok := u.Admit(of(1002, 1)); !ok || asked.Load() != 2 {
			t.Errorf("answered at last: %v, asked %d times", ok, asked.Load())
		}
	})
}

// So many that none is left to ask the others with.
func TestLookupsThatDoNotEndAreFew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var names []string
		for i := range 40 {
			names = append(names, fmt.Sprintf("stuck%d", i))
		}
		var asked atomic.Int32
		free := make(chan struct{})
		defer close(free)
		u := unixsock.NewUsers(names, nil, unixsock.Resolver{User: func(context.Context, string) (uint32, error) {
			asked.Add(1)
			<-free
			return 0, unixsock.ErrUnknownName
		}}, nil)
		for range 10 {
			began := time.Now()
			if err := u.Refresh(t.Context()); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 4*time.Second {
				t.Errorf("%v after %v", err, time.Since(began))
			}
		}
		if n := asked.Load(); n != 16 {
			t.Errorf("%d look-ups at once", n)
		}
	})
}
