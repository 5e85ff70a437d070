package sshagent

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"path/filepath"

	"deploykeyd/provision"
)

// SocketPath returns where the own socket of a repository lies in dir. The name
// is as long whatever the repository's is, because a socket's path may have 107
// bytes only (unix(7)), and the same for all spellings of the repository.
func SocketPath(dir, forge string, repo provision.Repository) string {
	sum := sha256.Sum256([]byte(forge + "\x00" + canonical(repo)))
	return filepath.Join(dir, hex.EncodeToString(sum[:8])+".sock")
}

// ServeRepository is Serve for the own socket of one repository. Whatever its
// clients say, it shows the repository's newest published key and signs with the
// keys published for that repository alone, only at the forge's own host key when the
// client binds its session. Users and quotas are those of the users' socket. It
// returns an error when the forge was not in the Options. l is closed when it
// returns, except after Drain.
func (s *Server) ServeRepository(ctx context.Context, l Listener, forge string, repo provision.Repository) error {
	f := s.forge(forge)
	if f == nil {
		return errors.Join(fmt.Errorf("serve repository socket: unknown forge %q", forge), l.Close())
	}
	a := *s.users
	a.name = "repository"
	a.only = &scope{f, repo}
	return s.serveUntilDrained(ctx, l, &a)
}

// scope is what the socket of one repository is for.
type scope struct {
	forge      *Forge
	repository provision.Repository
}

func (o *scope) holds(l loan) bool {
	return l.forge == o.forge && provision.Same(l.repository, o.repository)
}

// newest returns the loan whose key the clients are shown.
func (o *scope) newest(loans []loan) ([]loan, error) {
	for _, l := range loans {
		if o.holds(l) {
			return []loan{l}, nil
		}
	}
	return nil, &refusal{
		reason: fmt.Sprintf("no key for %s is lent on forge %s", o.repository, o.forge.Name),
		next:   "deploykeyd status says what it waits for",
	}
}
