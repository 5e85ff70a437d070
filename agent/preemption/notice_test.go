package preemption

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// Times in a synctest bubble begin at 2000-01-01T00:00:00Z.
func bubbleTime(after time.Duration) time.Time {
	return time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC).Add(after)
}

const event = `{"EventId":"e-1","EventType":"Preempt","ResourceType":"VirtualMachine","Resources":["CI_3"],` +
	`"EventStatus":"Scheduled","NotBefore":"Sat, 01 Jan 2000 00:00:30 GMT","Description":"","EventSource":"Platform","DurationInSeconds":-1}`

// What is a notice, and what it says.
func TestNotices(t *testing.T) {
	t.Parallel()
	spot := func(body string) http.HandlerFunc { return amazon(map[string]string{awsActionPath: body}) }
	group := func(state string) http.HandlerFunc { return amazon(map[string]string{awsLifecyclePath: state}) }
	cases := []struct {
		name  string
		cloud Cloud
		says  http.HandlerFunc
		want  Notice
	}{
		{"spot terminate", AWS, spot(`{"action": "terminate", "time": "2000-01-01T00:02:00Z"}`), Notice{AWS, "spot: terminate", bubbleTime(2 * time.Minute), false, ""}},
		{"spot stop", AWS, spot(`{"action":"stop","time":"2000-01-01T00:02:00Z"}`), Notice{AWS, "spot: stop", bubbleTime(2 * time.Minute), false, ""}},
		{"hibernation has begun", AWS, spot(`{"action":"hibernate","time":"2000-01-01T00:02:00Z"}`), Notice{AWS, "spot: hibernate", bubbleTime(0), false, ""}},
		{"no time that can be read", AWS, spot(`{"action":"stop","time":"soon"}`), Notice{AWS, "spot: stop", bubbleTime(0), false, ""}},
		{"scaled in", AWS, group("Terminated"), Notice{AWS, "autoscaling: Terminated", time.Time{}, false, ""}},
		{"warm pool gives up", AWS, group("Warmed:Terminated\n"), Notice{AWS, "autoscaling: Warmed:Terminated", time.Time{}, false, ""}},
		{"warm pool hibernates", AWS, group("Warmed:Hibernated"), Notice{AWS, "autoscaling: Warmed:Hibernated", time.Time{}, false, ""}},
		{"preempted", GCP, google("TRUE", "NONE"), Notice{GCP, "preempted", bubbleTime(30 * time.Second), false, ""}},
		{"maintenance", GCP, google("FALSE", "TERMINATE_ON_HOST_MAINTENANCE"), Notice{GCP, "host maintenance", bubbleTime(time.Minute), false, ""}},
		{"evicted", Azure, microsoft(event), Notice{Azure, "scheduled event: Preempt", bubbleTime(30 * time.Second), false, "e-1"}},
		{"deleted, with others", Azure, microsoft(strings.NewReplacer("Preempt", "Terminate", `["CI_3"]`, `["a","ci_3"]`).Replace(event)), Notice{Azure, "scheduled event: Terminate", bubbleTime(30 * time.Second), true, "e-1"}},
		{"begun", Azure, microsoft(strings.Replace(event, "Sat, 01 Jan 2000 00:00:30 GMT", "", 1)), Notice{Azure, "scheduled event: Preempt", bubbleTime(0), false, "e-1"}},
		{"after another's", Azure, microsoft(strings.Replace(event, "CI_3", "ci_4", 1) + "," + event), Notice{Azure, "scheduled event: Preempt", bubbleTime(30 * time.Second), false, "e-1"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := &service{handler: c.says}
				got, err := s.client().watch(t.Context(), Options{Cloud: c.cloud})
				got.Deadline = got.Deadline.Round(0).UTC() // without the monotonic clock
				if err != nil || got != c.want {
					t.Errorf("got %+v, %v, want %+v", got, err, c.want)
				}
			})
		})
	}
}

// What is asked for an hour and is never a notice: ctx ends the watch.
func TestNoNotice(t *testing.T) {
	t.Parallel()
	cases := map[string]struct {
		cloud Cloud
		says  http.HandlerFunc
	}{
		"404 forever":       {AWS, amazon(nil)},
		"in service":        {AWS, amazon(map[string]string{awsLifecyclePath: "InService"})},
		"to the warm pool":  {AWS, amazon(map[string]string{awsLifecyclePath: "Warmed:Stopped"})},
		"runs on":           {GCP, google("FALSE", "NONE")},
		"is migrated":       {GCP, google("FALSE", "MIGRATE_ON_HOST_MAINTENANCE")},
		"no events":         {Azure, microsoft("")},
		"another's event":   {Azure, microsoft(strings.Replace(event, "CI_3", "ci_33", 1))},
		"a reboot":          {Azure, microsoft(strings.Replace(event, "Preempt", "Reboot", 1))},
		"frozen for a time": {Azure, microsoft(strings.Replace(event, "Preempt", "Freeze", 1))},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
				defer cancel()
				log := &lines{}
				s := &service{handler: c.says}
				got, err := s.client().watch(ctx, Options{Cloud: c.cloud, Log: log.logger()})
				if !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("got %+v, %v", got, err)
				}
				if log.String() != "" {
					t.Errorf("a quiet service is logged: %s", log)
				}
			})
		})
	}
}

// A reply that is not understood is no notice and no proof that the service is
// there; what it says reaches no log.
func TestBadRepliesAreNoNotices(t *testing.T) {
	t.Parallel()
	const leak = "LEAKED"
	say := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Metadata-Flavor", "Google")
			w.WriteHeader(status)
			answer(w, body)
		}
	}
	spot := func(body string) http.HandlerFunc { return amazon(map[string]string{awsActionPath: body}) }
	cases := map[string]struct {
		cloud Cloud
		says  http.HandlerFunc
	}{
		"aws 404":              {AWS, say(404, leak)},
		"aws 503":              {AWS, say(503, leak)},
		"aws login page":       {AWS, say(200, "<html>"+leak)},
		"aws token of lines":   {AWS, say(200, "a\r\nb: "+leak)},
		"aws huge":             {AWS, say(200, strings.Repeat("x", 2<<20))},
		"aws no JSON":          {AWS, spot("terminate " + leak)},
		"aws no such action":   {AWS, spot(`{"action":"` + leak + `","time":"2000-01-01T00:02:00Z"}`)},
		"aws no such state":    {AWS, amazon(map[string]string{awsLifecyclePath: leak})},
		"gcp no such word":     {GCP, google("true "+leak, leak)},
		"gcp 500":              {GCP, say(500, "TRUE")},
		"gcp without flavor":   {GCP, func(w http.ResponseWriter, _ *http.Request) { answer(w, "TRUE") }},
		"azure no JSON":        {Azure, say(200, "Preempt ci_3 "+leak)},
		"azure other JSON":     {Azure, say(200, `{"name":"ci_3"}`)},
		"azure no name":        {Azure, say(200, `{"Events":[`+event+`]}`)},
		"azure wrong type":     {Azure, say(200, `{"name":"ci_3","Events":{"EventType":"Preempt"}}`)},
		"azure 410 for a year": {Azure, say(410, leak)},
		"redirect": {GCP, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/other" {
				google("TRUE", "TRUE")(w, r)
			}
			http.Redirect(w, r, "/other", http.StatusFound)
		}},
		"hangs": {Azure, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				log := &lines{}
				s := &service{handler: c.says}
				began := time.Now()
				got, err := s.client().watch(t.Context(), Options{Cloud: c.cloud, Log: log.logger()})
				if !errors.Is(err, ErrAbsent) || time.Since(began) != patience {
					t.Errorf("after %v: %+v, %v", time.Since(began), got, err)
				}
				if text := log.String(); !strings.Contains(text, "no usable answer") || strings.Contains(text, leak) {
					t.Errorf("log: %s", text)
				}
				if n := strings.Count(log.String(), "level=WARN"); n > 2 {
					t.Errorf("%d warnings of two questions at most", n)
				}
			})
		})
	}
}
