package sshagent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"

	"deploykeyd/agent/key"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// Verification is a private socket that shows exactly one key, to our own user
// only. The rules for signing are those of the users' socket.
type Verification struct {
	folder     string
	path       string
	signatures atomic.Int64
	cancel     context.CancelFunc
	served     chan error
}

// OpenVerification opens a verification socket for one key, in a new folder of
// mode 0700 below dir, which must exist. The caller closes it.
func (s *Server) OpenVerification(dir, forge string, repo provision.Repository, k *key.Key) (*Verification, error) {
	f := s.forge(forge)
	if f == nil {
		return nil, fmt.Errorf("open verification socket: unknown forge %q", forge)
	}
	folder, err := os.MkdirTemp(dir, "v") // mode 0700
	if err != nil {
		return nil, fmt.Errorf("open verification socket: %w", err)
	}
	path := filepath.Join(folder, "s")
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		_ = os.Remove(folder)
		return nil, fmt.Errorf("open verification socket: %w", err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	v := &Verification{folder: folder, path: path, cancel: cancel, served: make(chan error, 1)}
	ring := &Keyring{}
	ring.Publish(f, repo, k)
	a := &audience{
		name: "verification", ring: ring,
		admit:  func(p unixsock.Peer) bool { return int(p.UID) == os.Geteuid() },
		signed: func() { v.signatures.Add(1) },
	}
	go func() {
		defer close(v.served)
		v.served <- s.serve(ctx, l, a)
	}()
	return v, nil
}

// Path returns where the socket is.
func (v *Verification) Path() string { return v.path }

// Signatures returns how many signatures were made through the socket: proof
// that this key, and no other, was used.
func (v *Verification) Signatures() int { return int(v.signatures.Load()) }

// Close ends all connections and removes the socket with its folder.
func (v *Verification) Close() error {
	v.cancel()
	err := <-v.served
	if gone := os.Remove(v.folder); !errors.Is(gone, fs.ErrNotExist) {
		err = errors.Join(err, gone)
	}
	if err != nil {
		return fmt.Errorf("close verification socket: %w", err)
	}
	return nil
}
