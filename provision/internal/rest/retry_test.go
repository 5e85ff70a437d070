package rest_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/internal/rest"
)

// virtual runs f on virtual time and tells it how much of it has passed.
func virtual(t *testing.T, f func(t *testing.T, passed func() time.Duration)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		f(t, func() time.Duration { return time.Since(begin) })
	})
}

func TestWhatIsRepeated(t *testing.T) {
	cut := reply{err: io.ErrUnexpectedEOF}
	dial := reply{err: &net.OpError{Op: "dial", Net: "tcp", Err: errors.New("connection refused")}}
	for _, c := range []struct {
		name           string
		reply          reply
		get, post, del bool
	}{
		{"429", status(429), true, false, true},
		{"503 with a time", status(503, "Retry-After", "3"), true, false, true},
		{"503", status(503), true, false, true},
		{"500", status(500), true, false, true},
		{"502", status(502, "Content-Type", "text/html"), true, false, true},
		{"408", status(408), true, false, true},
		{"cut", cut, true, false, true},
		{"never connected", dial, true, false, true},
		{"400", status(400), false, false, false},
		{"403", status(403), false, false, false},
		{"404", status(404), false, false, false},
		{"301", status(301, "Location", "/x"), false, false, false},
		{"200 in plain text", reply{status: 200, body: "fine"}, false, false, false},
	} {
		for _, call := range []struct {
			rest.Call
			repeated bool
		}{{get(), c.get}, {post(), c.post}, {del(), c.del}} {
			t.Run(c.name+" "+call.Method, func(t *testing.T) {
				virtual(t, func(t *testing.T, passed func() time.Duration) {
					f := &forge{replies: []reply{c.reply}}
					if c.reply.status == 200 && call.Method != http.MethodGet {
						call.Status = 200 // so that it is the success whose body is wrong
					}
					var result struct{}
					_, err := newClient(t, setup{transport: f}).Do(t.Context(), call.Call, &result)
					if err == nil {
						t.Fatal("no error")
					}
					if call.repeated != (f.sent() > 1) || f.sent() > 4 || passed() > rest.MaxWait {
						t.Errorf("sent %d times in %v: %v", f.sent(), passed(), err)
					}
				})
			})
		}
	}
}

func TestSuccessAfterTrouble(t *testing.T) {
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		f := &forge{replies: []reply{status(500), {err: io.EOF}, status(429, "Retry-After", "20"), ok("{}")}}
		var result struct{}
		if _, err := newClient(t, setup{transport: f}).Do(t.Context(), get(), &result); err != nil {
			t.Fatal(err)
		}
		if passed() < 20*time.Second || passed() > 25*time.Second || f.sent() != 4 {
			t.Errorf("sent %d times in %v", f.sent(), passed())
		}
	})
}

// TestComeAgainIsUncertain is what a proxy says of a request that the forge has
// got: it may have been done, and the time to wait is kept.
func TestComeAgainIsUncertain(t *testing.T) {
	for _, call := range []rest.Call{post(), del()} {
		for _, code := range []int{500, 502, 503, 504} {
			virtual(t, func(t *testing.T, passed func() time.Duration) {
				f := &forge{replies: []reply{status(code, "Retry-After", "3600")}}
				_, err := newClient(t, setup{transport: f}).Do(t.Context(), call, nil)
				e := errorOf(t, err, provision.Transient, true)
				if e.RetryAfter != time.Hour || passed() != 0 || f.sent() != 1 {
					t.Errorf("%s, %d: asks for %v, sent %d times in %v", call.Method, code, e.RetryAfter, f.sent(), passed())
				}
			})
		}
	}
}

// TestDeletionStaysUncertain loses the answer of a deletion: the refusal of its
// repetition does not say what the first one did.
func TestDeletionStaysUncertain(t *testing.T) {
	virtual(t, func(t *testing.T, _ func() time.Duration) {
		f := &forge{replies: []reply{{err: io.EOF}, status(403)}}
		_, err := newClient(t, setup{transport: f}).Do(t.Context(), del(), nil)
		want(t, err, provision.Denied, true)
	})
}

func TestWaits(t *testing.T) {
	const date = "Tue, 01 Sep 2026 10:00:00 GMT"
	for _, c := range []struct {
		name    string
		reply   reply
		asked   time.Duration // what the error says, when it is all that comes
		atLeast time.Duration // before the second attempt; 0 means that there is none
	}{
		{"seconds", status(429, "Retry-After", "45"), 45 * time.Second, 45 * time.Second},
		{"a date by the forge's clock", status(429, "Date", date, "Retry-After", "Tue, 01 Sep 2026 10:01:10 GMT"), 70 * time.Second, 70 * time.Second},
		{"a date that has passed", status(429, "Date", date, "Retry-After", "Tue, 01 Sep 2026 09:00:00 GMT"), 0, time.Millisecond},
		{"no time", status(429), 0, time.Millisecond},
		{"zero", status(429, "Retry-After", "0"), 0, time.Millisecond},
		{"negative", status(429, "Retry-After", "-5"), 0, time.Millisecond},
		{"no number", status(429, "Retry-After", "soon"), 0, time.Millisecond},
		{"an hour", status(429, "Retry-After", "3600"), time.Hour, 0},
		{"a year", status(429, "Retry-After", "31536000"), 24 * time.Hour, 0},
		{"beyond all numbers", status(429, "Retry-After", "99999999999999999999"), 24 * time.Hour, 0},
		{"beyond all durations", status(429, "Retry-After", "18446744073709551615"), 24 * time.Hour, 0},
		{"a number with a sign", status(429, "Retry-After", "+5"), 0, time.Millisecond},
		{"far in the future", status(429, "Date", date, "Retry-After", "Tue, 01 Sep 2099 10:01:10 GMT"), 24 * time.Hour, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			virtual(t, func(t *testing.T, passed func() time.Duration) {
				f := &forge{replies: []reply{c.reply, ok("{}")}}
				_, err := newClient(t, setup{transport: f}).Do(t.Context(), get(), nil)
				if c.atLeast == 0 {
					if e := errorOf(t, err, provision.RateLimited, false); e.RetryAfter != c.asked || passed() > 0 {
						t.Errorf("asks for %v after %v", e.RetryAfter, passed())
					}
					return
				}
				if err != nil || passed() < c.atLeast || passed() > c.atLeast+2*time.Second {
					t.Errorf("%v after %v", err, passed())
				}
			})
		})
	}
}

func TestWaitsAddUp(t *testing.T) {
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		f := &forge{replies: []reply{status(429, "Retry-After", "50")}}
		_, err := newClient(t, setup{transport: f}).Do(t.Context(), get(), nil)
		want(t, err, provision.RateLimited, false)
		if passed() > rest.MaxWait || f.sent() != 3 {
			t.Errorf("sent %d times in %v", f.sent(), passed())
		}
	})
}

func TestAttemptTimeout(t *testing.T) {
	virtual(t, func(t *testing.T, passed func() time.Duration) {
		f := &forge{replies: []reply{{delay: time.Hour, status: 201}}}
		_, err := newClient(t, setup{transport: f}).Do(t.Context(), post(), nil)
		e := errorOf(t, err, provision.Transient, true)
		if passed() != rest.RequestTimeout || f.sent() != 1 || e.Next == "" {
			t.Errorf("sent %d times in %v: %v", f.sent(), passed(), err)
		}
	})
}

func TestContextEnds(t *testing.T) {
	t.Run("before", func(t *testing.T) {
		f := &forge{replies: []reply{ok("{}")}}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		_, err := newClient(t, setup{transport: f}).Do(ctx, post(), nil)
		want(t, err, provision.Transient, false)
		if f.sent() != 0 || !errors.Is(err, context.Canceled) {
			t.Errorf("sent %d times: %v", f.sent(), err)
		}
	})
	t.Run("during", func(t *testing.T) {
		virtual(t, func(t *testing.T, passed func() time.Duration) {
			f := &forge{replies: []reply{{delay: time.Hour, status: 201}}}
			ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
			defer cancel()
			_, err := newClient(t, setup{transport: f}).Do(ctx, post(), nil)
			want(t, err, provision.Transient, true)
			if passed() != 3*time.Second || !errors.Is(err, context.DeadlineExceeded) {
				t.Errorf("after %v: %v", passed(), err)
			}
		})
	})
	t.Run("before the forge's wait", func(t *testing.T) {
		virtual(t, func(t *testing.T, passed func() time.Duration) {
			f := &forge{replies: []reply{status(429, "Retry-After", "60")}}
			ctx, cancel := context.WithTimeout(t.Context(), 59*time.Second)
			defer cancel()
			_, err := newClient(t, setup{transport: f}).Do(ctx, post(), nil)
			if e := errorOf(t, err, provision.RateLimited, false); e.RetryAfter != time.Minute || passed() != 0 {
				t.Errorf("asks for %v after %v", e.RetryAfter, passed())
			}
		})
	})
	t.Run("between", func(t *testing.T) {
		virtual(t, func(t *testing.T, passed func() time.Duration) {
			f := &forge{replies: []reply{status(429, "Retry-After", "60")}}
			ctx, cancel := context.WithCancel(t.Context())
			defer time.AfterFunc(5*time.Second, cancel).Stop()
			_, err := newClient(t, setup{transport: f}).Do(ctx, get(), nil)
			want(t, err, provision.RateLimited, false)
			if passed() != 5*time.Second || !errors.Is(err, context.Canceled) || f.sent() != 1 {
				t.Errorf("sent %d times in %v: %v", f.sent(), passed(), err)
			}
		})
	})
}

// TestNothingListens uses the real transport: a request that no connection
// could carry did nothing.
func TestNothingListens(t *testing.T) {
	var l net.ListenConfig
	listener, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := listener.Addr().String()
	if err := listener.Close(); err != nil {
		t.Fatal(err)
	}
	client := newClient(t, setup{root: "http://" + address})
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond) // shorter than the first wait
	defer cancel()
	_, err = client.Do(ctx, post(), nil)
	if e := errorOf(t, err, provision.Transient, false); e.Next == "" {
		t.Errorf("no next step: %v", err)
	}
}

// TestConnectionDies uses the real transport: once there is a connection, the
// forge may have got the request.
func TestConnectionDies(t *testing.T) {
	var l net.ListenConfig
	listener, err := l.Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = listener.Close() }()
	go func() {
		for {
			conn, err := listener.Accept()
			if err != nil {
				return
			}
			_ = conn.Close()
		}
	}()
	client := newClient(t, setup{root: "http://" + listener.Addr().String()})
	_, err = client.Do(t.Context(), post(), nil)
	want(t, err, provision.Transient, true)
}
