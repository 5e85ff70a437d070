package forgesim

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log/slog"
	"maps"
	"net"
	"net/http"
	"strconv"
	"time"
)

// serveHTTP answers API requests on l until Close. It returns at once.
func (f *Forge) serveHTTP(l net.Listener) {
	server := &http.Server{
		Handler:           http.HandlerFunc(f.handle),
		BaseContext:       func(net.Listener) context.Context { return f.sim.running },
		ReadHeaderTimeout: 30 * time.Second,
		ErrorLog:          slog.NewLogLogger(f.logger.Handler(), slog.LevelDebug),
	}
	f.closers = append(f.closers, server)
	f.sim.tasks.Go(func() {
		if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) && !errors.Is(err, net.ErrClosed) {
			f.logger.ErrorContext(f.sim.running, "http server ended", slog.Any("error", err))
		}
	})
}

// handle answers one request over a socket. A cut is an aborted handler:
// net/http then closes the connection without a further byte.
func (f *Forge) handle(w http.ResponseWriter, r *http.Request) {
	if !f.sim.enter() {
		panic(http.ErrAbortHandler)
	}
	defer f.sim.tasks.Done()
	if q, ok := f.locateLFS(r); ok {
		f.serveLFS(w, r, q)
		return
	}
	c, err := f.newCall(r)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	d := f.exchange(r.Context(), c, func() {})
	if d.err != nil || d.cut {
		panic(http.ErrAbortHandler)
	}
	h := w.Header()
	maps.Copy(h, d.header)
	if h.Get("Date") == "" {
		h["Date"] = nil // keeps net/http from adding one
	}
	if d.status == http.StatusNoContent {
		w.WriteHeader(d.status)
		return
	}
	h.Set("Content-Length", strconv.FormatInt(d.padding+int64(len(d.body)), 10))
	w.WriteHeader(d.status)
	body := d.body
	if d.truncated {
		body = body[:len(body)/2]
	}
	_, err = io.Copy(w, io.MultiReader(io.LimitReader(blanks{}, d.padding), bytes.NewReader(body)))
	if err != nil || d.truncated {
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
}

// ignoreClosed drops the error of closing what is closed already.
func ignoreClosed(err error) error {
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}
