package unixsock_test

import (
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/agent/unixsock"
)

func TestAccounts(t *testing.T) {
	d := &directory{
		users:  map[string]uint32{"jenkins": 1001, "toor": 0},
		groups: map[string]uint32{"builders": 2001, "docker": 2002, "late": 2003},
	}
	u := unixsock.NewUsers([]string{"jenkins", "1002", "toor"}, []string{"docker", "builders", "2003", "2004"}, d.resolver(), nil)
	user := func(id uint32) unixsock.Account { return unixsock.Account{ID: id} }
	group := func(id uint32) unixsock.Account { return unixsock.Account{Group: true, ID: id} }
	if err := u.Refresh(t.Context()); err == nil {
		t.Fatal("toor is believed")
	}
	for name, c := range map[string]struct {
		p    unixsock.Peer
		want unixsock.Account
		ok   bool
	}{
		"a user by name":               {of(1001, 1), user(1001), true},
		"a user by number":             {of(1002, 1), user(1002), true},
		"a named user in a group":      {of(1001, 2001, 2004), user(1001), true},
		"a numbered user in a group":   {of(1002, 2004, 2001), user(1002), true},
		"a member by gid":              {of(100_000, 2001), group(2001), true},
		"a member by group":            {of(100_001, 1, 5, 2001), group(2001), true},
		"another uid of it":            {of(165_535, 1, 2001), group(2001), true},
		"a numbered group":             {of(1003, 1, 2004), group(2004), true},
		"numbers before names":         {of(1003, 2002, 2004), group(2004), true},
		"two names, in the list's way": {of(1003, 2001, 2002), group(2002), true},
		"two numbers":                  {of(1003, 2004, 2003), group(2003), true},
		"a stranger":                   {of(1004, 1), user(1004), false},
		"a stranger like a group":      {of(2001, 1), user(2001), false},
		"root":                         {of(0, 2004), user(0), false},
		"nobody":                       {of(65534, 2004), user(65534), false},
	} {
		for how, decide := range map[string]func(unixsock.Peer) (unixsock.Account, bool){"Admit": u.Admit, "Known": u.Known} {
			for range 10 { // the same each time
				if got, ok := decide(c.p); got != c.want || ok != c.ok {
					t.Errorf("%s, %s: %+v, %v", name, how, got, ok)
				}
			}
		}
	}
}

// A user that a numbered group lets in waits for no look-up, but gets its own
// account once its name has appeared.
func TestANameThatAppearsGetsItsAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := &directory{users: map[string]uint32{}}
		u := unixsock.NewUsers([]string{"dynamic"}, []string{"2001"}, d.resolver(), nil)
		p := of(61000, 1, 2001)
		if a, ok := u.Admit(p); !ok || a != (unixsock.Account{Group: true, ID: 2001}) {
			t.Errorf("at first: %+v, %v", a, ok)
		}
		synctest.Wait()
		d.users["dynamic"] = 61000
		wait(t, time.Minute)
		_, _ = u.Admit(p)
		synctest.Wait()
		if a, ok := u.Admit(p); !ok || a != (unixsock.Account{ID: 61000}) {
			t.Errorf("at last: %+v, %v", a, ok)
		}
	})
}
