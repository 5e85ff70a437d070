package sshagent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
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

// folderPrefix begins the names of the verification sockets' folders.
const folderPrefix = "agent-"

// OpenVerification opens a verification socket for one key, in a new folder of
// mode 0700 below dir, which must exist. The caller closes it.
func (s *Server) OpenVerification(dir, forge string, repo provision.Repository, k *key.Key) (*Verification, error) {
	f := s.forge(forge)
	if f == nil {
		return nil, fmt.Errorf("open verification socket: unknown forge %q", forge)
	}
	folder, err := os.MkdirTemp(dir, folderPrefix) // mode 0700
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
	_ = ring.Publish(f, repo, k) // nothing else is lent there
	ourselves := func(p unixsock.Peer) (unixsock.Account, bool) {
		return unixsock.Account{ID: p.UID}, int(p.UID) == os.Geteuid()
	}
	a := newAudience("verification", ring, ourselves, ourselves, s.users.turns)
	a.signed = func() { v.signatures.Add(1) }
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

// Close ends all connections and removes the socket with its folder. It takes
// about two seconds at most.
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

// CleanVerifications removes from dir what verification sockets of an earlier
// process, which was killed, have left there. No other process may be using dir.
// It follows no symbolic link in dir. A missing dir is no error.
func CleanVerifications(dir string) error {
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("clean up after verification sockets: %w", err)
	}
	defer func() { _ = root.Close() }()
	entries, err := fs.ReadDir(root.FS(), ".")
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), folderPrefix) {
			err = errors.Join(err, root.RemoveAll(e.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("clean up after verification sockets: %w", err)
	}
	return nil
}
