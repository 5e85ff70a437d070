package cli

import (
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"deploykeyd/agent/key"
	"deploykeyd/agent/service"
	"deploykeyd/agent/unixsock"
)

// handover is what one process of the daemon leaves to the next: the sockets
// that clients wait at, and the parked keys. After a crash the service manager
// has it in its file descriptor store; at a reload the successor inherits it.
type handover struct {
	manager   *service.Manager
	program   string // what a reload executes: the path of this one, which an upgrade replaces
	log       *slog.Logger
	parking   *key.Parking
	parked    []*key.Key          // by the process before this one
	inherited map[string]*os.File // what nobody has taken yet
	held      []string            // the names under which the manager holds something of ours
	listening map[string]*unixsock.Listener
	warnings  []string
}

// parkedKeys is the parking's name in the manager's store.
const parkedKeys = "keys"

// receive takes over what the process before this one left.
func receive(manager *service.Manager, program string, log *slog.Logger) *handover {
	h := &handover{manager: manager, program: program, log: log, inherited: manager.Inherited(), listening: map[string]*unixsock.Listener{}}
	if f, ok := h.inherited[parkedKeys]; ok {
		delete(h.inherited, parkedKeys)
		h.held = append(h.held, parkedKeys)
		var err error
		if h.parking, h.parked, err = key.OpenParking(f); err == nil {
			return h
		}
		h.warn("the keys of the process before cannot be used, so there are new ones: " + err.Error())
		h.discard(parkedKeys)
	}
	parking, err := key.NewParking()
	if err != nil {
		h.warn("keys do not outlive a crash or a reload, which then make new ones: " + err.Error())
		return h
	}
	h.parking = parking
	h.store(parkedKeys, parking.File())
	return h
}

// listen opens the socket at path, or goes on with the one that the process
// before has left there.
func (h *handover) listen(name, path string) (*unixsock.Listener, error) {
	if f, ok := h.inherited[name]; ok {
		delete(h.inherited, name)
		l, err := unixsock.Inherit(f, path)
		if err == nil {
			h.held = append(h.held, name)
			h.listening[name] = l
			return l, nil
		}
		h.log.Warn("a socket of the process before cannot be used", slog.String("path", path), slog.String("reason", err.Error()))
		h.discard(name)
	}
	// Anybody may connect: who may use the key is decided by the peer's identity.
	l, err := unixsock.Listen(path, 0o666)
	if err != nil {
		return nil, socketError(err)
	}
	if f, err := l.File(); err == nil {
		h.store(name, f)
		_ = f.Close()
	}
	h.listening[name] = l
	return l, nil
}

// store gives the manager a duplicate of f to hold.
func (h *handover) store(name string, f *os.File) {
	if err := h.manager.Store(name, f); err != nil {
		h.warn("the service manager does not keep " + name + " over a crash: " + err.Error())
		return
	}
	h.held = append(h.held, name)
}

func (h *handover) discard(name string) {
	if err := h.manager.Discard(name); err != nil {
		h.log.Warn("the service manager still holds a descriptor", slog.String("name", name), slog.String("reason", err.Error()))
	}
}

// discardRest lets go what the present configuration has no use for.
func (h *handover) discardRest() {
	for name, f := range h.inherited {
		_ = f.Close()
		h.discard(name)
	}
	h.inherited = nil
}

// end leaves nothing to any successor.
func (h *handover) end() {
	h.parking.Wipe()
	h.discardRest()
	for _, name := range h.held {
		h.discard(name)
	}
	h.held = nil
}

func (h *handover) warn(text string) { h.warnings = append(h.warnings, text) }

// nameOf returns what a socket is called in the manager's store.
func (o *options) nameOf(socket string) string {
	name, err := filepath.Rel(o.runDir, socket)
	if err != nil {
		return socket // both are absolute: this does not happen
	}
	return name
}

// What follows is for the manager to show. That it cannot be reached changes
// nothing for the builds.

func (h *handover) ready()     { h.told(h.manager.Ready("serving")) }
func (h *handover) reloading() { h.told(h.manager.Reloading()) }

// stopping asks for the time that a revocation may take, and some for the rest.
func (h *handover) stopping(timeout time.Duration) {
	h.told(h.manager.Stopping("revoking", timeout+10*time.Second))
}

func (h *handover) alive(status string) {
	h.told(errors.Join(h.manager.Alive(), h.manager.Status(status)))
}

func (h *handover) told(err error) {
	if err != nil {
		h.log.Warn("the service manager does not hear us", slog.String("reason", err.Error()))
	}
}
