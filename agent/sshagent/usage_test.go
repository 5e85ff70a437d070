package sshagent_test

import (
	"net"
	"testing"
	"time"

	"deploykeyd/agent/key"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// used is what a repository's counters are expected to be.
type used struct {
	forge               string
	repo                provision.Repository
	signatures, refused uint64
}

func (w *world) counts(t *testing.T, total used, each ...used) {
	t.Helper()
	for _, u := range each {
		signatures, refused, last := w.server.Used(u.forge, u.repo)
		if signatures != u.signatures || refused != u.refused {
			t.Errorf("%s %q: %d signatures and %d refused, want %d and %d", u.forge, u.repo, signatures, refused, u.signatures, u.refused)
		}
		if age := time.Since(last); last.IsZero() != (signatures == 0) || signatures > 0 && (age < 0 || age > time.Minute) {
			t.Errorf("%s %q: last used at %v", u.forge, u.repo, last)
		}
	}
	if signatures, refused := w.server.Totals(); signatures != total.signatures || refused != total.refused {
		t.Errorf("%d signatures and %d refused in total, want %d and %d", signatures, refused, total.signatures, total.refused)
	}
}

// repeat sends a message many times.
func (w *world) repeat(t *testing.T, c net.Conn, times int, message []byte, number byte) {
	t.Helper()
	for range times {
		w.must(t, c, message, number)
	}
}

func TestUsedCountsByRepository(t *testing.T) {
	w := newWorld(t)
	w.counts(t, used{}, used{"hub", "acme/api", 0, 0}, used{"hub", "", 0, 0}, used{"elsewhere", "", 0, 0})
	c, own := w.dial(t), dialPath(t, w.serveRepository(t, "gitea", "acme/web"))
	api, shared := w.keys["api"].Public(), w.keys["gitea"].Public()

	w.repeat(t, c, 3, login{key: api}.request(), signAnswer)
	w.repeat(t, c, 2, login{key: api, user: "root"}.request(), failure)
	listed(t, c)
	w.repeat(t, c, 4, login{key: shared}.request(), signAnswer) // for which of two repositories nobody can tell
	w.repeat(t, own, 5, login{key: shared}.request(), signAnswer)
	w.repeat(t, own, 1, []byte{99}, failure)
	w.repeat(t, c, 1, []byte{99}, failure)
	w.repeat(t, c, 100, login{key: w.keys["foreign"].Public()}.request(), failure) // many are left out of the log
	w.counts(t, used{signatures: 12, refused: 104},
		used{"hub", "acme/api", 3, 2}, used{"hub", "ACME/Api", 3, 2}, used{"hub", "acme/web", 0, 0}, used{"hub", "", 0, 0},
		used{"gitea", "", 4, 0}, used{"gitea", "acme/web", 5, 1}, used{"gitea", "acme/api", 0, 0})

	// Neither a rotation nor the end of the last loan starts anew.
	fresh := generate(t, key.Ed25519)
	w.server.Publish("hub", "acme/api", fresh)
	w.server.Withdraw("hub", "acme/api", w.keys["api"])
	w.repeat(t, c, 2, login{key: fresh.Public()}.request(), signAnswer)
	w.server.Withdraw("hub", "acme/api", fresh)
	w.counts(t, used{signatures: 14, refused: 104}, used{"hub", "acme/api", 5, 2})

	// On a connection that is bound, the forge is known.
	w.must(t, c, bind{host: w.hosts["hub"]}.request(t), success)
	w.must(t, c, []byte{99}, failure)
	w.counts(t, used{signatures: 14, refused: 105}, used{"hub", "", 0, 1})
}

func TestVerificationsAreNotCounted(t *testing.T) {
	w := newWorld(t)
	v, err := w.server.OpenVerification(folder(t), "hub", "acme/api", w.keys["foreign"])
	if err != nil {
		t.Fatal(err)
	}
	c, err := unixsock.Dial(t.Context(), v.Path())
	if err != nil {
		t.Fatal(err)
	}
	w.must(t, c, login{key: w.keys["foreign"].Public()}.request(), signAnswer)
	w.must(t, c, []byte{99}, failure)
	if err := v.Close(); err != nil {
		t.Error(err)
	}
	w.counts(t, used{}, used{"hub", "acme/api", 0, 0}, used{"hub", "", 0, 0})
}

func TestStrangersAreCountedAtNoForge(t *testing.T) {
	w := newWorld(t, "61234")
	own := w.serveRepository(t, "hub", "acme/api")
	hungUp(t, w.dial(t))
	hungUp(t, dialPath(t, own))
	w.counts(t, used{refused: 2}, used{"hub", "", 0, 0}, used{"hub", "acme/api", 0, 1})
}
