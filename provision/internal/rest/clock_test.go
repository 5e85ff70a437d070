package rest_test

import (
	"maps"
	"net/http"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
)

const (
	date    = "Tue, 01 Sep 2026 10:00:00 GMT"
	another = "Tue, 01 Sep 2026 11:34:00 GMT" // not too far from 90 minutes later
)

var at = time.Date(2026, 9, 1, 10, 0, 0, 0, time.UTC)

func withDate(r reply, date string, more ...string) reply {
	header := map[string]string{"Date": date}
	maps.Copy(header, r.header)
	for i := 0; i < len(more); i += 2 {
		header[more[i]] = more[i+1]
	}
	r.header = header
	return r
}

// dated is a reply of the forge's own with a Date.
func dated(code int, date string, more ...string) reply {
	r := ok("{}")
	r.status = code
	return withDate(r, date, more...)
}

func TestTimeAsksOnce(t *testing.T) {
	for _, code := range []int{200, 401, 403, 404, 429} {
		virtual(t, func(t *testing.T, _ func() time.Duration) {
			s := &source{tokens: []string{token}}
			f := &forge{replies: []reply{dated(code, date)}}
			client := newClient(t, setup{transport: f, source: s})
			for range 3 {
				if now, err := client.Time(t.Context()); err != nil || !now.Equal(at) {
					t.Errorf("%d: gives %v, %v", code, now, err)
				}
			}
			r := f.requests[0]
			if f.sent() != 1 || r.Method != http.MethodGet || r.URL.Path != "/api/v1/version" {
				t.Errorf("%d requests, the first is %s %s", f.sent(), r.Method, r.URL)
			}
			if r.Header.Get("Authorization") != "" || s.loads != 0 {
				t.Error("the time was asked for with the credential")
			}
		})
	}
}

func TestTimeOfTheLastReply(t *testing.T) {
	virtual(t, func(t *testing.T, _ func() time.Duration) {
		f := &forge{replies: []reply{dated(200, date), dated(422, another), dated(500, date), status(404)}}
		client := newClient(t, setup{transport: f})
		_, _ = client.Do(t.Context(), get(), nil)
		if now, err := client.Time(t.Context()); err != nil || !now.Equal(at) {
			t.Fatalf("gives %v, %v", now, err)
		}
		<-time.NewTimer(90 * time.Minute).C
		if now, err := client.Time(t.Context()); err != nil || !now.Equal(at.Add(90*time.Minute)) {
			t.Fatalf("later gives %v, %v", now, err)
		}
		want := at.Add(94 * time.Minute)
		for range 3 { // the second and third reply tell nothing better
			_, _ = client.Do(t.Context(), post(), nil)
			if now, err := client.Time(t.Context()); err != nil || !now.Equal(want) {
				t.Fatalf("gives %v, %v", now, err)
			}
		}
	})
}

func TestTimeThatCannotBeBelieved(t *testing.T) {
	for name, r := range map[string]reply{
		"no Date":                  ok("{}"),
		"no date":                  dated(200, "yesterday"),
		"before 2020":              dated(200, "Tue, 31 Dec 2019 23:59:59 GMT"),
		"in 1970":                  dated(200, "Thu, 01 Jan 1970 00:00:00 GMT"),
		"after 2100":               dated(200, "Sat, 01 Jan 2101 00:00:00 GMT"),
		"from a cache":             dated(200, date, "Age", "3600"),
		"from a fresh one":         dated(200, date, "Age", "0"),
		"from a login page":        withDate(reply{status: 200, header: map[string]string{"Content-Type": "text/html"}, body: "<html>log in</html>"}, date),
		"from a page called JSON":  withDate(ok("<html>log in</html>"), date),
		"from a proxy's redirect":  withDate(status(302, "Location", "https://login.example/"), date),
		"from a redirect in JSON":  dated(302, date),
		"from a proxy's refusal":   withDate(status(407), date),
		"from a refusal in words":  withDate(reply{status: 403, header: map[string]string{"Content-Type": "text/plain"}, body: "no"}, date),
		"from a page of a refusal": withDate(reply{status: 401, header: map[string]string{"Content-Type": "text/html"}, body: "<html>"}, date),
	} {
		f := &forge{replies: []reply{r, dated(200, date)}}
		client := newClient(t, setup{transport: f})
		now, err := client.Time(t.Context())
		e := errorOf(t, err, provision.Transient, false)
		if e.Op != "time" || !strings.Contains(e.Next, "Date") || !now.IsZero() {
			t.Errorf("%s gives %v, %+v", name, now, e)
		}
		if now, err = client.Time(t.Context()); err != nil || now.Sub(at) > time.Minute {
			t.Errorf("%s: a better reply gives %v, %v", name, now, err)
		}
	}
}

func TestTimeOfABrokenForge(t *testing.T) {
	virtual(t, func(t *testing.T, _ func() time.Duration) {
		f := &forge{replies: []reply{dated(502, date)}}
		_, err := newClient(t, setup{transport: f}).Time(t.Context())
		want(t, err, provision.Transient, false)
		if f.sent() != 1 { // who waits for the time is told why there is none
			t.Errorf("it was asked %d times", f.sent())
		}
	})
}

// TestTimeOfABareRefusal is a forge that says nothing to a caller without a
// credential.
func TestTimeOfABareRefusal(t *testing.T) {
	f := &forge{replies: []reply{withDate(status(401), date)}}
	if now, err := newClient(t, setup{transport: f}).Time(t.Context()); err != nil || now.Sub(at) > time.Minute {
		t.Errorf("gives %v, %v", now, err)
	}
}

// TestTimeOfADeletion takes the time from the empty reply that is promised.
func TestTimeOfADeletion(t *testing.T) {
	f := &forge{replies: []reply{withDate(status(204), date)}}
	client := newClient(t, setup{transport: f})
	if _, err := client.Do(t.Context(), del(), nil); err != nil {
		t.Fatal(err)
	}
	if now, err := client.Time(t.Context()); err != nil || now.Sub(at) > time.Minute || f.sent() != 1 {
		t.Errorf("gives %v, %v after %d requests", now, err, f.sent())
	}
}

// TestTimeThatJumps is believed when a second reply says the same, and until
// then goes on from what was believed before.
func TestTimeThatJumps(t *testing.T) {
	const far, farther = "Tue, 01 Sep 2026 15:00:00 GMT", "Tue, 01 Sep 2026 20:00:00 GMT"
	later := func(hours int) time.Time { return at.Add(time.Duration(hours) * time.Hour) }
	for name, c := range map[string]struct {
		dates []string
		want  []time.Time
	}{
		"once":                   {[]string{date, far, date, date}, []time.Time{at, at, at, at}},
		"for good":               {[]string{date, far, far}, []time.Time{at, at, later(5)}},
		"back":                   {[]string{far, date, date}, []time.Time{later(5), later(5), at}},
		"with a reply between":   {[]string{date, far, date, far, date}, []time.Time{at, at, at, at, at}},
		"to two different times": {[]string{date, far, farther, far, far}, []time.Time{at, at, at, at, later(5)}},
	} {
		virtual(t, func(t *testing.T, _ func() time.Duration) {
			f := &forge{}
			for _, d := range c.dates {
				f.replies = append(f.replies, dated(200, d))
			}
			client := newClient(t, setup{transport: f})
			for i, want := range c.want {
				_, _ = client.Do(t.Context(), get(), nil)
				if now, err := client.Time(t.Context()); err != nil || !now.Equal(want) {
					t.Errorf("%s: after reply %d gives %v, %v; want %v", name, i+1, now, err, want)
				}
			}
		})
	}
}
