package forgesim

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"time"

	"deploykeyd/provision"
)

// ServeControl serves the control API on a loopback address, "host:port", until
// Close, and returns its URL. Through it, other processes look at the truth and
// inject faults:
//
//	GET    /state     a State
//	GET    /requests  all API requests so far, by kind of forge
//	GET    /commands  all SSH commands so far, likewise
//	POST   /faults    a FaultRequest
//	DELETE /faults    remove all faults
//	POST   /release   let held replies go
func (s *Sim) ServeControl(ctx context.Context, address string) (url string, err error) {
	host, _, err := net.SplitHostPort(address)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return "", fmt.Errorf("control address %q: whoever reaches it controls the forges, so use a loopback address such as 127.0.0.1:0", address)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", address)
	if err != nil {
		return "", fmt.Errorf("listen for control: %w", err)
	}
	server := &http.Server{Handler: controlHandler(s), ReadHeaderTimeout: 10 * time.Second}
	s.closers = append(s.closers, server)
	s.tasks.Go(func() { _ = server.Serve(l) }) // ends with Close
	return "http://" + l.Addr().String(), nil
}

// State is the body of GET /state.
type State struct {
	Forges map[provision.Kind]ForgeState `json:"forges"`
}

// ForgeState is what one forge holds.
type ForgeState struct {
	URL          string   `json:"url"`
	SSH          string   `json:"ssh"`
	Repositories []string `json:"repositories"`
	Keys         []Key    `json:"keys"`
	Held         int      `json:"held"` // replies that wait for a release
}

// FaultRequest is the body of POST /faults. Durations are Go's, such as "2s".
type FaultRequest struct {
	Forge      provision.Kind `json:"forge"` // empty for every forge
	Name       FaultName      `json:"name"`
	Op         Op             `json:"op,omitempty"`
	Repository string         `json:"repository,omitempty"`
	Times      int            `json:"times,omitempty"`
	Delay      string         `json:"delay,omitempty"`
	RetryAfter string         `json:"retry_after,omitempty"`
	Offset     string         `json:"offset,omitempty"`
	Status     int            `json:"status,omitempty"`
}

// controlHandler is the control API.
func controlHandler(sim *Sim) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /state", func(w http.ResponseWriter, _ *http.Request) {
		state := State{Forges: map[provision.Kind]ForgeState{}}
		for _, f := range sim.Forges() {
			state.Forges[f.Kind()] = ForgeState{
				URL: f.URL(), SSH: f.SSH().String(), Repositories: f.Repositories(), Keys: f.AllKeys(), Held: f.Held(),
			}
		}
		writeJSON(w, http.StatusOK, state)
	})
	mux.HandleFunc("GET /requests", func(w http.ResponseWriter, _ *http.Request) {
		all := map[provision.Kind][]Request{}
		for _, f := range sim.Forges() {
			all[f.Kind()] = f.Requests()
		}
		writeJSON(w, http.StatusOK, all)
	})
	mux.HandleFunc("GET /commands", func(w http.ResponseWriter, _ *http.Request) {
		all := map[provision.Kind][]Command{}
		for _, f := range sim.Forges() {
			all[f.Kind()] = f.Commands()
		}
		writeJSON(w, http.StatusOK, all)
	})
	mux.HandleFunc("POST /faults", func(w http.ResponseWriter, r *http.Request) {
		if err := inject(sim, w, r); err != nil {
			writeJSON(w, http.StatusBadRequest, map[string]string{"error": err.Error()})
			return
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("DELETE /faults", func(w http.ResponseWriter, _ *http.Request) {
		for _, f := range sim.Forges() {
			f.ClearFaults()
		}
		w.WriteHeader(http.StatusNoContent)
	})
	mux.HandleFunc("POST /release", func(w http.ResponseWriter, _ *http.Request) {
		writeJSON(w, http.StatusOK, map[string]int{"released": sim.Release()})
	})
	return mux
}

// inject reads a fault and injects it where it belongs.
func inject(sim *Sim, w http.ResponseWriter, r *http.Request) error {
	var in FaultRequest
	d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 64<<10))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return err
	}
	fault := Fault{Name: in.Name, Op: in.Op, Repository: in.Repository, Times: in.Times, Status: in.Status}
	for _, f := range []struct {
		name, text string
		to         *time.Duration
	}{{"delay", in.Delay, &fault.Delay}, {"retry_after", in.RetryAfter, &fault.RetryAfter}, {"offset", in.Offset, &fault.Offset}} {
		if f.text == "" {
			continue
		}
		d, err := time.ParseDuration(f.text)
		if err != nil {
			return fmt.Errorf("%s: %w", f.name, err)
		}
		*f.to = d
	}
	if err := fault.Check(); err != nil {
		return err
	}
	forges := sim.Forges()
	if in.Forge != "" {
		f := sim.Forge(in.Forge)
		if f == nil {
			return fmt.Errorf("no forge %q here", in.Forge)
		}
		forges = []*Forge{f}
	}
	for _, f := range forges {
		f.Inject(fault)
	}
	return nil
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	_ = e.Encode(v) // a client that has gone needs no answer
}
