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

// A service that was there once may be away for hours; the notice after that
// counts.
func TestServiceThatGoesAndComesBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		log := &lines{}
		s := &service{handler: microsoft("")}
		notices := make(chan Notice, 1)
		go func() {
			n, err := s.client().watch(t.Context(), Options{Cloud: Azure, Log: log.logger()})
			if err != nil {
				t.Error(err)
			}
			notices <- n
		}()
		<-time.After(time.Minute) // the bubble's time
		s.become(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
		<-time.After(3 * time.Hour)
		s.become(microsoft(""))
		<-time.After(time.Minute)
		s.become(microsoft(event))
		began := time.Now()
		<-notices
		if late := time.Since(began); late > azurePause {
			t.Errorf("the notice was seen after %v", late)
		}
		text := log.String()
		if strings.Count(text, "no usable answer") != 1 || strings.Count(text, "answers again") != 1 {
			t.Errorf("log: %s", text)
		}
	})
}

// The session of Amazon's service is renewed before it ends, and at once when the
// service no longer knows it.
func TestSessionToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 7*time.Hour+time.Minute)
		defer cancel()
		log := &lines{}
		s := &service{handler: amazon(nil)}
		forget := time.AfterFunc(time.Hour, func() {
			refused := false
			s.become(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == awsActionPath && !refused {
					refused = true
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				amazon(nil)(w, r)
			})
		})
		defer forget.Stop()
		if _, err := s.client().watch(ctx, Options{Cloud: AWS, Log: log.logger()}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if n := s.count("PUT " + awsTokenPath); n != 4 { // at 0, 1 h and every 3 h after that
			t.Errorf("%d session tokens in seven hours", n)
		}
		if n := s.count("GET " + awsActionPath); n < 5040 || n > 5060 {
			t.Errorf("asked %d times in seven hours, which is not every five seconds", n)
		}
		if log.String() != "" {
			t.Errorf("renewing a session is logged: %s", log)
		}
	})
}

// A session that is refused again and again is trouble, not a circle.
func TestSessionThatIsNeverTaken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{handler: func(w http.ResponseWriter, r *http.Request) {
			if r.Method == http.MethodPut {
				answer(w, awsSecret)
				return
			}
			w.WriteHeader(http.StatusUnauthorized)
		}}
		if _, err := s.client().watch(t.Context(), Options{Cloud: AWS}); !errors.Is(err, ErrAbsent) {
			t.Fatal(err)
		}
		if n := s.count("PUT"); n > int(2*patience/pauseAfterTrouble)+2 {
			t.Errorf("%d session tokens in %v", n, patience)
		}
	})
}

// Google's service is asked once for the value and then waits for its change,
// from the very value that was read.
func TestWaitForChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		preempted := make(chan struct{})
		s := &service{handler: func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Get("wait_for_change") == "true" {
				select {
				case <-preempted:
				case <-time.After(gcpWait):
				case <-r.Context().Done():
					return
				}
			}
			select {
			case <-preempted:
				google("TRUE", "NONE")(w, r)
			default:
				google("FALSE", "NONE")(w, r)
			}
		}}
		turn := time.AfterFunc(time.Hour, func() { close(preempted) })
		defer turn.Stop()
		n, err := s.client().watch(t.Context(), Options{Cloud: GCP})
		if err != nil || n.Reason != "preempted" {
			t.Fatalf("%+v, %v", n, err)
		}
		if late := time.Since(bubbleTime(time.Hour)); late > gcpPause {
			t.Errorf("the notice was seen %v late", late)
		}
		const waits = "?last_etag=abc123&timeout_sec=60&wait_for_change=true"
		for _, item := range []string{"preempted", "maintenance-event"} {
			all, waiting := s.count("GET "+gcpRoot+item), s.count("GET "+gcpRoot+item+waits)
			if all-waiting != 1 || all > 62 {
				t.Errorf("%s: asked %d times in an hour, %d of them waiting", item, all, waiting)
			}
		}
	})
}

// A service that answers at once instead of waiting is asked once a second.
func TestServiceThatDoesNotWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		s := &service{handler: google("FALSE", "NONE")}
		if _, err := s.client().watch(ctx, Options{Cloud: GCP}); !errors.Is(err, context.DeadlineExceeded) {
			t.Fatal(err)
		}
		if n := s.count("GET"); n > 2*61 {
			t.Errorf("asked %d times in a minute", n)
		}
	})
}

// The first list of Azure's events may take two minutes, later ones may not.
func TestFirstEventsAreSlow(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := &service{}
		first := true
		s.handler = func(w http.ResponseWriter, r *http.Request) {
			switch slow := strings.Contains(r.URL.Path, "scheduledevents"); {
			case slow && first:
				<-time.After(2 * time.Minute)
				first = false
				microsoft("")(w, r)
			case slow:
				microsoft(event)(w, r)
			default:
				microsoft("")(w, r)
			}
		}
		n, err := s.client().watch(t.Context(), Options{Cloud: Azure})
		if err != nil || n.event != "e-1" {
			t.Errorf("%+v, %v", n, err)
		}
	})
}

func TestWatchEndsWithItsContext(t *testing.T) {
	t.Parallel()
	for _, cloud := range Clouds() {
		ctx, cancel := context.WithCancelCause(t.Context())
		s := &service{handler: func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }}
		errs := make(chan error)
		go func() {
			_, err := Watch(ctx, Options{Cloud: cloud, Endpoint: s.listen(t)})
			errs <- err
		}()
		why := errors.New("enough")
		cancel(why)
		if err := <-errs; !errors.Is(err, why) {
			t.Errorf("%s: %v", cloud, err)
		}
	}
}

func TestUnknownCloud(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"", "AWS", "azure ", "openstack"} {
		if _, err := ParseCloud(name); err == nil || !strings.Contains(err.Error(), "aws, gcp, azure") {
			t.Errorf("%q: %v", name, err)
		}
		if _, err := Watch(t.Context(), Options{Cloud: Cloud(name)}); err == nil {
			t.Errorf("%q is watched", name)
		}
	}
	for _, c := range Clouds() {
		if got, err := ParseCloud(string(c)); got != c || err != nil {
			t.Errorf("%q: %q, %v", c, got, err)
		}
	}
}

func TestTimeLeft(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			deadline time.Time
			left     time.Duration
			known    bool
		}{
			{time.Time{}, 0, false},
			{bubbleTime(30 * time.Second), 30 * time.Second, true},
			{bubbleTime(-time.Hour), 0, true},
		} {
			if left, known := (Notice{Deadline: c.deadline}).Left(); left != c.left || known != c.known {
				t.Errorf("%v: %v, %v", c.deadline, left, known)
			}
		}
	})
}
