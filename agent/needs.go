package agent

import (
	"context"
	"time"

	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// Journal keeps the records of one machine. Every method is durable when it
// returns nil: a power cut after that loses nothing. Implementations are safe
// for concurrent use.
type Journal interface {
	// Records returns all records in no particular order. Beside an error it
	// returns those that it could read.
	Records() ([]Record, error)
	// Put stores r, replacing the record with its ID.
	Put(r Record) error
	// Forget removes the record with that ID; a missing one is no error.
	Forget(id string) error
}

// Verifier proves that a key opens a repository.
type Verifier interface {
	// Verify returns nil only when real git has read the repository with this
	// very key. An error whose provision.Class is retryable may pass by itself.
	Verify(ctx context.Context, forge string, repo provision.Repository, k *key.Key) error
}

// Publisher lends keys to the builds. Its methods take effect before they
// return and never wait for a client.
type Publisher interface {
	Publish(forge string, repo provision.Repository, k *key.Key)
	Withdraw(forge string, repo provision.Repository, k *key.Key)
	// Used returns what the builds did with the keys of a repository in this
	// life: how many signatures were made and refused, and when the last was
	// made. No repository stands for what can be laid to none.
	Used(forge string, repo provision.Repository) (signatures, refused uint64, last time.Time)
}
