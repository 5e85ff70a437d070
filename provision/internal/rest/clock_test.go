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
	another = "Tue, 01 Sep 2026 12:30:00 GMT"
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

func TestTimeAsksOnce(t *testing.T) {
	for _, code := range []int{200, 301, 401, 403, 404, 429} {
		virtual(t, func(t *testing.T, _ func() time.Duration) {
			s := &source{tokens: []string{token}}
			f := &forge{replies: []reply{withDate(status(code), date)}}
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
		f := &forge{replies: []reply{withDate(ok("{}"), date), withDate(status(422), another), withDate(status(500), date), status(404)}}
		client := newClient(t, setup{transport: f})
		_, _ = client.Do(t.Context(), get(), nil)
		if now, err := client.Time(t.Context()); err != nil || !now.Equal(at) {
			t.Fatalf("gives %v, %v", now, err)
		}
		<-time.NewTimer(90 * time.Minute).C
		if now, err := client.Time(t.Context()); err != nil || !now.Equal(at.Add(90*time.Minute)) {
			t.Fatalf("later gives %v, %v", now, err)
		}
		want := at.Add(150 * time.Minute)
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
		"no Date":          status(200),
		"no date":          withDate(status(200), "yesterday"),
		"before 2020":      withDate(status(200), "Tue, 31 Dec 2019 23:59:59 GMT"),
		"in 1970":          withDate(status(200), "Thu, 01 Jan 1970 00:00:00 GMT"),
		"after 2100":       withDate(status(200), "Sat, 01 Jan 2101 00:00:00 GMT"),
		"from a cache":     withDate(status(200), date, "Age", "3600"),
		"from a fresh one": withDate(status(200), date, "Age", "0"),
	} {
		f := &forge{replies: []reply{r, withDate(status(200), date)}}
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
		f := &forge{replies: []reply{withDate(status(502), date)}}
		_, err := newClient(t, setup{transport: f}).Time(t.Context())
		want(t, err, provision.Transient, false)
		if f.sent() < 2 {
			t.Error("it was asked only once")
		}
	})
}
