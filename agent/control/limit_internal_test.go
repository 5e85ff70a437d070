package control

import (
	"bytes"
	"log/slog"
	"math"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/agent/unixsock"
)

// What is given back is the next one's, and nobody is remembered for it.
func TestPlacesAreGivenBack(t *testing.T) {
	p := &places{each: 2, all: 3}
	a, b, c := unixsock.Account{ID: 1}, unixsock.Account{Group: true, ID: 1}, unixsock.Account{ID: 2}
	for i, step := range []struct {
		a    unixsock.Account
		want bool
	}{{a, true}, {a, true}, {a, false}, {b, true}, {b, false}, {c, false}} {
		if got := p.take(step.a); got != step.want {
			t.Errorf("step %d: %v", i, got)
		}
	}
	p.give(a)
	if !p.take(c) || p.take(a) {
		t.Error("the place of one who has gone is not the next one's alone")
	}
	for _, who := range []unixsock.Account{a, b, c} {
		p.give(who)
	}
	if len(p.open) != 0 || p.total != 0 {
		t.Errorf("%v and %d are left", p.open, p.total)
	}
}

// What was not logged of a user is made up for by one line.
func TestRefusalsAreMadeUpFor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		s := NewServer(Options{Logger: slog.New(slog.NewTextHandler(&log, nil))})
		r := &http.Request{Pattern: "GET /v1/status"}
		for range 50 {
			s.refused(r, unixsock.Peer{UID: 61234, PID: 7})
			s.tooMany(unixsock.Peer{UID: 61234, PID: 8})
		}
		<-time.After(unixsock.RefusalWindow + time.Second)
		synctest.Wait()
		lines := strings.Split(strings.TrimSpace(log.String()), "\n")
		if last := lines[len(lines)-1]; !strings.Contains(last, `msg="more control requests refused" uid=61234 count=40 within=1m0s`) ||
			len(lines) != unixsock.MaxRefusals+1 {
			t.Errorf("%d lines for 100 refusals, and then: %s", len(lines), last)
		}
		log.Reset()
		s.untold(math.MaxUint32, 5)
		if got := log.String(); !strings.Contains(got, "uid=several count=5") {
			t.Errorf("of several: %s", got)
		}
	})
}
