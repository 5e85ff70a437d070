package main_test

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// cloud is a stand-in for the metadata services of all three clouds. Nothing is
// planned until take is called.
type cloud struct {
	taken    atomic.Bool
	deadline atomic.Int64 // Unix, of the notice
	asked    chan struct{}
	approved atomic.Int32
	url      string
}

func newCloud(t *testing.T) *cloud {
	t.Helper()
	c := &cloud{asked: make(chan struct{}, 1000)}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	c.url = server.URL
	return c
}

func (c *cloud) take(in time.Duration) {
	c.deadline.Store(time.Now().Add(in).Unix())
	c.taken.Store(true)
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	at := time.Unix(c.deadline.Load(), 0).UTC()
	say := func(text string) { _, _ = fmt.Fprint(w, text) }
	w.Header().Set("Metadata-Flavor", "Google")
	switch path := r.URL.Path; {
	case r.Method == http.MethodPost:
		c.approved.Add(1)
	case path == "/latest/api/token":
		say("session")
	case path == "/latest/meta-data/spot/instance-action" && c.taken.Load():
		say(`{"action":"terminate","time":"` + at.Format(time.RFC3339) + `"}`)
	case path == "/computeMetadata/v1/instance/preempted":
		say(strings.ToUpper(fmt.Sprint(c.taken.Load())))
	case path == "/computeMetadata/v1/instance/maintenance-event":
		say("NONE")
	case path == "/metadata/instance/compute":
		say(`{"name":"ci-1"}`)
	case path == "/metadata/scheduledevents" && c.taken.Load():
		say(`{"Events":[{"EventId":"1","EventType":"Preempt","Resources":["ci-1"],"NotBefore":"` + at.Format(http.TimeFormat) + `"}]}`)
	case path == "/metadata/scheduledevents":
		say(`{"Events":[]}`)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
	c.asked <- struct{}{}
}

// watched is a run of the command.
type watched struct {
	status         int
	stdout, stderr string
}

func (s *site) watch(t *testing.T, args ...string) <-chan watched {
	t.Helper()
	ended := make(chan watched, 1)
	go func() {
		defer close(ended) // also when the program does not end
		var w watched
		w.status, w.stdout, w.stderr = s.do(t, append([]string{"preemption"}, args...)...)
		ended <- w
	}()
	return ended
}

func TestPreemptionNoticeRevokes(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"aws", "gcp", "azure"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, d := readySite(t)
			c := newCloud(t)
			ended := s.watch(t, "--cloud", name, "--endpoint", c.url, "--acknowledge")
			<-c.asked
			if diff := cmp.Diff(onePerPlan(), s.keys()); diff != "" {
				t.Errorf("keys while nothing is planned (-want +got):\n%s", diff)
			}
			c.take(2 * time.Minute)
			w := <-ended
			if w.status != 0 || !strings.Contains(w.stdout, "no key of this machine") || !strings.Contains(w.stderr, "notice of "+name) {
				t.Errorf("exit status %d: %s%s", w.status, w.stdout, w.stderr)
			}
			if keys := s.keys(); len(keys) != 0 {
				t.Errorf("keys after the notice: %v", keys)
			}
			if n := c.approved.Load(); name == "azure" && n != 1 || name != "azure" && n != 0 {
				t.Errorf("acknowledged %d times", n)
			}
			if code := d.terminate(t); code != 0 {
				t.Errorf("the daemon: exit status %d", code)
			}
		})
	}
}

// Builds have the grace, but never the time that the revocation needs.
func TestPreemptionGrace(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args []string
		left time.Duration
		says string
	}{
		{[]string{"--grace", "1s"}, 2 * time.Minute, "lose access in 1s"},
		{[]string{"--grace", "1h", "--timeout", "20s"}, 22 * time.Second, "lose access in "},
		{[]string{"--grace", "1h", "--timeout", "20s"}, time.Second, "lose access in 0s"},
		{[]string{"--grace", "-1s"}, time.Minute, "lose access in 0s"},
	} {
		s := newSite(t)
		metadata := newCloud(t)
		metadata.take(c.left)
		began := time.Now()
		w := <-s.watch(t, append(c.args, "--cloud", "azure", "--endpoint", metadata.url)...)
		if w.status != 0 || !strings.Contains(w.stderr, c.says) {
			t.Errorf("%q with %v left: exit status %d: %s", c.args, c.left, w.status, w.stderr)
		}
		if c.left == 22*time.Second && time.Since(began) > 15*time.Second {
			t.Errorf("the grace of an hour was cut to %v", time.Since(began))
		}
		if n := metadata.approved.Load(); n != 0 {
			t.Errorf("acknowledged %d times unasked", n)
		}
	}
}

// What a revocation could not do has its exit status, and no acknowledgement.
func TestPreemptionPassesExitThreeOn(t *testing.T) {
	t.Parallel()
	s := crashedSite(t)
	s.rewrite(t, "kind: github", "kind: githab")
	c := newCloud(t)
	c.take(time.Minute)
	w := <-s.watch(t, "--cloud", "azure", "--endpoint", c.url, "--acknowledge")
	if w.status != 3 || !strings.Contains(w.stderr, "may remain on a forge") {
		t.Errorf("exit status %d: %s", w.status, w.stderr)
	}
	if n := c.approved.Load(); n != 0 {
		t.Error("Azure was told to go on although keys remain")
	}
}

func TestPreemptionUsage(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	for _, c := range []struct {
		args []string
		says string
	}{
		{nil, "DEPLOYKEYD_CLOUD="},
		{[]string{"--cloud="}, "aws, gcp, azure"},
		{[]string{"--cloud", "openstack"}, "aws, gcp, azure"},
		{[]string{"--cloud", "aws", "--endpoint", "http://metadata.example"}, "no IP address"},
		{[]string{"--cloud", "aws", "extra"}, "see deploykeyd preemption --help"},
		{[]string{"--cloud", "aws", "--grace", "long"}, "see deploykeyd preemption --help"},
	} {
		if w := <-s.watch(t, c.args...); w.status != 2 || !strings.Contains(w.stderr, c.says) {
			t.Errorf("%q: exit status %d: %s", c.args, w.status, w.stderr)
		}
	}
}
