package unixsock_test

import (
	"context"
	"errors"
	"os/user"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/unixsock"
)

// directory is a user database that counts what it is asked.
type directory struct {
	mu    sync.Mutex
	users map[string]uint32
	err   error
	asked int
}

func (d *directory) resolve(_ context.Context, name string) (uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.err != nil {
		return 0, d.err
	}
	id, ok := d.users[name]
	if !ok {
		return 0, unixsock.ErrUnknownUser
	}
	return id, nil
}

func allows(u *unixsock.Users, uids ...uint32) map[uint32]bool {
	got := map[uint32]bool{}
	for _, id := range uids {
		got[id] = u.Allows(unixsock.Peer{UID: id})
	}
	return got
}

func TestUsersAllowsOnlyThoseListed(t *testing.T) {
	d := &directory{users: map[string]uint32{
		"jenkins": 1001, "bamboo": 1002, "nobody": 65534, "toor": 0, "minus": 1<<32 - 1,
	}}
	for name, c := range map[string]struct {
		listed []string
		want   []uint32
	}{
		"nobody listed":        {nil, nil},
		"a name":               {[]string{"jenkins"}, []uint32{1001}},
		"two names":            {[]string{"jenkins", "bamboo"}, []uint32{1001, 1002}},
		"a number":             {[]string{"1003"}, []uint32{1003}},
		"root by name":         {[]string{"root"}, []uint32{0}},
		"root by number":       {[]string{"0"}, []uint32{0}},
		"root by another name": {[]string{"toor"}, nil},
		"overflow by name":     {[]string{"nobody"}, nil},
		"overflow by number":   {[]string{"65534"}, nil},
		"no uid":               {[]string{"minus", "4294967295"}, nil},
		"unknown":              {[]string{"ghost"}, nil},
		"number out of range":  {[]string{"4294968297"}, nil}, // 2^32 + 1001
		"an option":            {[]string{"-s", "--help", "+1001"}, nil},
	} {
		u := unixsock.NewUsers(c.listed, d.resolve, nil)
		want := map[uint32]bool{0: false, 1001: false, 1002: false, 1003: false, 65534: false, 1<<32 - 1: false}
		for _, id := range c.want {
			want[id] = true
		}
		if diff := cmp.Diff(want, allows(u, 0, 1001, 1002, 1003, 65534, 1<<32-1)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

func TestUsersAsksRarely(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{users: map[string]uint32{}}
		u := unixsock.NewUsers([]string{"jenkins"}, d.resolve, nil)
		if d.asked != 0 {
			t.Error("asked before anybody came")
		}
		for range 100 {
			if u.Allows(unixsock.Peer{UID: 1001}) || u.Allows(unixsock.Peer{UID: 1002}) {
				t.Fatal("a stranger was let in")
			}
		}
		if d.asked != 1 {
			t.Errorf("200 strangers at once caused %d look-ups, want 1", d.asked)
		}
		d.users["jenkins"] = 1001 // made after boot
		if u.Allows(unixsock.Peer{UID: 1001}) {
			t.Error("known without being asked for")
		}
		wait(t, 5*time.Second)
		if !u.Allows(unixsock.Peer{UID: 1001}) {
			t.Error("a user that has appeared is not let in")
		}
		if d.asked != 2 {
			t.Errorf("%d look-ups, want 2", d.asked)
		}
	})
}

func TestKnowsAsksNobody(t *testing.T) {
	d := &directory{users: map[string]uint32{"jenkins": 1001, "toor": 0}}
	u := unixsock.NewUsers([]string{"jenkins", "1003"}, d.resolve, nil)
	knows := func() map[uint32]bool {
		got := map[uint32]bool{}
		for _, id := range []uint32{0, 1001, 1002, 1003} {
			got[id] = u.Knows(unixsock.Peer{UID: id})
		}
		return got
	}
	want := map[uint32]bool{0: false, 1001: false, 1002: false, 1003: true}
	if diff := cmp.Diff(want, knows()); diff != "" || d.asked != 0 {
		t.Errorf("before a look-up, %d asked (-want +got):\n%s", d.asked, diff)
	}
	if err := u.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	want[1001] = true
	if diff := cmp.Diff(want, knows()); diff != "" || d.asked != 1 {
		t.Errorf("after it, %d asked (-want +got):\n%s", d.asked, diff)
	}
	if !unixsock.NewUsers([]string{"root"}, nil, nil).Knows(unixsock.Peer{}) {
		t.Error("root that is listed is not known")
	}
}

func TestUsersForgetsAUIDThatWasGivenAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{users: map[string]uint32{"dynamic": 61000}}
		u := unixsock.NewUsers([]string{"dynamic"}, d.resolve, nil)
		if !u.Allows(unixsock.Peer{UID: 61000}) {
			t.Fatal("not let in")
		}
		d.users["dynamic"] = 61001
		wait(t, time.Minute)
		if diff := cmp.Diff(map[uint32]bool{61000: false, 61001: true}, allows(u, 61000, 61001)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		delete(d.users, "dynamic")
		wait(t, time.Minute)
		if u.Allows(unixsock.Peer{UID: 61001}) {
			t.Error("a deleted user is let in")
		}
	})
}

func TestUsersKeepsItsAnswerWhileNobodyAnswers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{users: map[string]uint32{"jenkins": 1001}}
		u := unixsock.NewUsers([]string{"jenkins"}, d.resolve, nil)
		if err := u.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.err = errors.New("the directory server is down")
		wait(t, time.Hour)
		if diff := cmp.Diff(map[uint32]bool{1001: true, 1002: false}, allows(u, 1001, 1002)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// wait lets d pass on the bubble's clock.
func wait(t *testing.T, d time.Duration) {
	t.Helper()
	select {
	case <-time.After(d):
	case <-t.Context().Done():
		t.Fatal(t.Context().Err())
	}
}

func TestUsersBoundsALookup(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hang := func(ctx context.Context, _ string) (uint32, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		u := unixsock.NewUsers([]string{"a", "b", "c"}, hang, nil)
		start := time.Now()
		if u.Allows(unixsock.Peer{UID: 1001}) {
			t.Error("let in")
		}
		if took := time.Since(start); took != 3*time.Second {
			t.Errorf("took %v", took)
		}
	})
}

func TestRefreshNamesThoseThatDoNotExist(t *testing.T) {
	d := &directory{users: map[string]uint32{"jenkins": 1001}}
	u := unixsock.NewUsers([]string{"jenkins", "ghost", "bad name", "1003"}, d.resolve, nil)
	err := u.Refresh(t.Context())
	if !errors.Is(err, unixsock.ErrUnknownUser) {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{"ghost": true, "bad name": true, "jenkins": false, "1003": false} {
		if got := strings.Contains(err.Error(), strconv.Quote(name)); got != want {
			t.Errorf("%q named: %v, want %v: %v", name, got, want, err)
		}
	}
}

func TestGetent(t *testing.T) {
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	id, err := unixsock.Getent(t.Context(), me.Username)
	if err != nil || strconv.FormatUint(uint64(id), 10) != me.Uid {
		t.Errorf("%s: got %d, %v, want %s", me.Username, id, err, me.Uid)
	}
	if _, err := unixsock.Getent(t.Context(), "no-such-user-here"); !errors.Is(err, unixsock.ErrUnknownUser) {
		t.Errorf("unknown user: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := unixsock.Getent(ctx, me.Username); !errors.Is(err, context.Canceled) || errors.Is(err, unixsock.ErrUnknownUser) {
		t.Errorf("cancelled: %v", err)
	}
}

// A name service that never answers holds nobody for ever.
func TestRefreshEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		silent := func(ctx context.Context, _ string) (uint32, error) {
			<-ctx.Done()
			return 0, ctx.Err()
		}
		began := time.Now()
		if err := unixsock.NewUsers([]string{"jenkins"}, silent, nil).Refresh(t.Context()); err == nil {
			t.Error("no error")
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("it took %v", took)
		}
	})
}
