package preemption

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"
)

const (
	// patience is how long the service may be absent from the beginning. A
	// machine that boots may be without network for a while, and the first reply
	// of Azure may take two minutes (Microsoft, "Scheduled Events for Linux VMs").
	patience = 5 * time.Minute
	// pauseAfterTrouble is before a question is put again that went wrong.
	pauseAfterTrouble = 2 * time.Second
)

// question is one thing that is asked of a metadata service again and again.
type question struct {
	about string // for the log
	// ask returns nil while nothing is planned.
	ask func(context.Context) (*Notice, error)
	// pause is between two questions.
	pause time.Duration
}

// watch is one Watch under way.
type watch struct {
	log     *slog.Logger
	cloud   Cloud
	notices chan Notice
	heard   func() // the service is there
}

// Watch returns the first notice that this machine is about to be taken away. It
// blocks until there is one, ctx ends, or it turns out that no metadata service
// of that cloud is here (ErrAbsent). A service that has answered once may be away
// for as long as it likes.
func Watch(ctx context.Context, o Options) (Notice, error) {
	client, err := newClient(o.Endpoint)
	if err != nil {
		return Notice{}, err
	}
	return client.watch(ctx, o)
}

// watch is Watch with a client of one's own.
func (c *client) watch(ctx context.Context, o Options) (Notice, error) {
	questions, err := c.questions(o.Cloud)
	if err != nil {
		return Notice{}, err
	}
	log := o.Log
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	ctx, cancel := context.WithCancelCause(ctx)
	absent := time.AfterFunc(patience, func() { cancel(ErrAbsent) })
	w := &watch{
		log: log, cloud: o.Cloud, notices: make(chan Notice, len(questions)),
		heard: func() { absent.Stop() },
	}
	var asking sync.WaitGroup
	defer func() { // nothing of this goes on after the return
		absent.Stop()
		cancel(nil)
		asking.Wait()
		c.http.CloseIdleConnections()
	}()
	for _, q := range questions {
		asking.Go(func() { w.repeat(ctx, q) })
	}
	select {
	case n := <-w.notices:
		return n, nil
	case <-ctx.Done():
	}
	select {
	case n := <-w.notices: // at the same moment
		return n, nil
	default:
	}
	cause := context.Cause(ctx)
	if errors.Is(cause, ErrAbsent) {
		return Notice{}, fmt.Errorf("%s at %s: %w", o.Cloud, c.root, cause)
	}
	return Notice{}, cause
}

func (c *client) questions(cloud Cloud) ([]question, error) {
	switch cloud {
	case AWS:
		return c.aws(), nil
	case GCP:
		return c.gcp(), nil
	case Azure:
		return c.azure(), nil
	}
	_, err := ParseCloud(string(cloud))
	return nil, err
}

// repeat puts a question until it is answered with a notice or ctx ends. Trouble
// is logged when it begins and when it is over, not each time.
func (w *watch) repeat(ctx context.Context, q question) {
	log := w.log.With(slog.String("cloud", string(w.cloud)), slog.String("about", q.about))
	troubled := false
	for {
		notice, err := q.ask(ctx)
		pause := q.pause
		switch {
		case ctx.Err() != nil:
			return
		case notice != nil:
			w.heard()
			w.notices <- *notice
			return
		case err != nil:
			if !troubled {
				log.WarnContext(ctx, "metadata service gives no usable answer", slog.String("error", err.Error()))
			}
			troubled, pause = true, pauseAfterTrouble
		default:
			w.heard()
			if troubled {
				log.InfoContext(ctx, "metadata service answers again")
			}
			troubled = false
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(pause):
		}
	}
}
