package sshagent

import (
	"bytes"
	"context"
	"io"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/unixsock"
)

// taken fills places for the accounts, one after the other, and returns how many
// each got.
func taken(p *places, accounts ...unixsock.Account) []int {
	var got []int
	for _, who := range accounts {
		n := 0
		for {
			if _, err := p.enter(who); err != nil {
				break
			}
			n++
		}
		got = append(got, n)
	}
	return got
}

func TestPlacesAreShared(t *testing.T) {
	a, b, g, h := user(1), user(2), group(1), group(2)
	many := []unixsock.Account{user(3), user(4), user(5), user(6), user(7), user(8), user(9)}
	for name, c := range map[string]struct {
		who  []unixsock.Account
		want []int
	}{
		"users":                     {[]unixsock.Account{a, b}, []int{64, 64}},
		"a group and the user":      {[]unixsock.Account{g, a, g}, []int{256, 64, 0}},
		"two groups":                {[]unixsock.Account{g, h, a}, []int{256, 0, 64}},
		"users, then groups":        {append([]unixsock.Account{a, b}, append(many, g)...), []int{64, 64, 64, 64, 64, 64, 64, 64, 0, 0}},
		"groups, then users":        {[]unixsock.Account{g, a, b, many[0], many[1], many[2]}, []int{256, 64, 64, 64, 64, 0}},
		"a group beside some users": {[]unixsock.Account{a, b, many[0], many[1], many[2], g}, []int{64, 64, 64, 64, 64, 192}},
	} {
		for _, p := range []*places{&newLimits().users, &newLimits().reads} {
			if diff := cmp.Diff(c.want, taken(p, c.who...)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", name, diff)
			}
		}
	}
	p := &newLimits().strangers
	if diff := cmp.Diff([]int{8, 8, 8, 8, 0}, taken(p, a, b, many[0], many[1], many[2])); diff != "" {
		t.Errorf("strangers (-want +got):\n%s", diff)
	}
}

func TestPlacesAreGivenBack(t *testing.T) {
	for _, who := range []unixsock.Account{user(7), group(7)} {
		p := &newLimits().users
		first, err := p.enter(who)
		if err != nil {
			t.Fatal(err)
		}
		rest := taken(p, who)[0]
		first.leave()
		if got := taken(p, who); got[0] != 1 {
			t.Errorf("%+v: %d places are free after one was given back", who, got[0])
		}
		for range rest + 1 {
			place{p, who}.leave()
		}
		if p.total != 0 || p.groups != 0 || len(p.users) != 0 {
			t.Errorf("%+v: %d in all, %d of groups, %v of users are still taken", who, p.total, p.groups, p.users)
		}
	}
}

// Whoever is refused is told the numbers that hold for him.
func TestRefusalsOfPlacesSayHowManyThereAre(t *testing.T) {
	l := newLimits()
	for _, c := range []struct {
		of   *places
		who  unixsock.Account
		want []string
	}{
		{&l.users, user(1), []string{"a user may have 64", "all together 512"}},
		{&l.users, group(1), []string{"groups together may have 256", "users:"}},
		{&l.strangers, user(1), []string{"may have 8", "all such users together 32"}},
	} {
		taken(c.of, c.who)
		_, err := c.of.enter(c.who)
		next := reasons("refused", err)[2].Value.String()
		for _, want := range c.want {
			if !strings.Contains(next, want) {
				t.Errorf("%+v: next step %q, want %q", c.who, next, want)
			}
		}
	}
}

// arrive has a client served that was taken for expected when it came.
func arrive(ctx context.Context, t *testing.T, a *audience, expected judge, log io.Writer) {
	t.Helper()
	s, _ := newSession(t, log)
	s.audience = a
	a.known = expected
	at, err := a.enter(s.caller.Peer)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := net.Pipe()
	_ = ours.Close()
	s.connection(ctx, theirs, at)
	if a.strangers.total != 0 {
		t.Errorf("%d places of strangers are still taken", a.strangers.total)
	}
}

// What a client is taken for when it comes may not be what it is admitted as. It
// is counted as the latter, and refused where there is no place for that.
func TestClientsAreCountedAsWhatTheyAreAdmitted(t *testing.T) {
	a := newAudience("users", &Keyring{}, nil, always(true), newTurns())
	var log bytes.Buffer
	during := 0
	a.read = func(p unixsock.Peer) caller {
		a.users.mu.Lock()
		defer a.users.mu.Unlock()
		during = a.users.users[p.UID]
		return caller{Peer: p}
	}
	asGroup := func(unixsock.Peer) (unixsock.Account, bool) { return group(1002), true }
	for _, expected := range []judge{always(false), always(true), asGroup} {
		during = 0
		arrive(t.Context(), t, a, expected, &log)
		if during != 1 || a.users.total != 0 || a.users.groups != 0 || log.Len() != 0 {
			t.Errorf("%d places during, %d after; log %s", during, a.users.total, log.Bytes())
		}
	}
	all := taken(&a.users, user(1001))[0]
	for _, expected := range []judge{always(false), asGroup} {
		during = 0
		log.Reset()
		arrive(t.Context(), t, a, expected, &log)
		if !strings.Contains(log.String(), "too many connections") || during != 0 || a.users.total != all {
			t.Errorf("%d places during, %d after; log %s", during, a.users.total, log.Bytes())
		}
	}
}

// The kernel tells nothing about the groups of a connection that is closed: then
// nobody says that a user is not listed.
func TestNobodyIsCalledUnlistedBecauseTheDaemonStops(t *testing.T) {
	a := newAudience("users", &Keyring{}, nil, always(false), newTurns())
	ctx, stop := context.WithCancel(t.Context())
	stop()
	var log bytes.Buffer
	arrive(ctx, t, a, always(false), &log)
	if all := lines(t, log.Bytes()); len(all) != 1 || all[0]["reason"] != errStopping.Error() {
		t.Errorf("log %s", log.Bytes())
	}
}
