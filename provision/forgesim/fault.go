package forgesim

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"
)

// Op is what a request is about.
type Op string

// The operations that faults can be narrowed to.
const (
	OpAny      Op = "any" // every API request; the zero Op means the same
	OpRegister Op = "register"
	OpList     Op = "list"
	OpRevoke   Op = "revoke"
	OpToken    Op = "token"  // the exchange of a long-lived credential for an access token
	OpLookup   Op = "lookup" // of a GitHub App's installation on an account or a repository, before that exchange
	OpSSH      Op = "ssh"    // SSH connections and commands, never an API request
)

// ops are the operations in the order that messages name them.
func ops() []Op { return []Op{OpAny, OpRegister, OpList, OpRevoke, OpToken, OpLookup, OpSSH} }

// FaultName names a fault.
type FaultName string

// The faults. "Work" is what the request asks for. A fault with none of Times,
// Op and Repository meets every API request until it is removed.
const (
	// TooManyRequests refuses without work: 429, on GitHub 403 with the words
	// of its secondary limit, unless Status says otherwise. Retry-After is sent
	// only when RetryAfter is set.
	TooManyRequests FaultName = "too-many-requests"
	// ErrorBefore answers 500, or Status, without work.
	ErrorBefore FaultName = "error-before"
	// ErrorAfterEffect answers 500, or Status, after the work.
	ErrorAfterEffect FaultName = "error-after-effect"
	// CutBefore cuts the connection without work. With OpSSH the connection is
	// cut as soon as it is made.
	CutBefore FaultName = "cut-before"
	// CutAfterEffect cuts the connection after the work. With OpSSH it is cut
	// when git has ended, before its exit status is sent.
	CutAfterEffect FaultName = "cut-after-effect"
	// LateEffect cuts the connection and does the work Delay later.
	LateEffect FaultName = "late-effect"
	// SlowReply answers Delay after the work. With OpSSH the command starts
	// Delay later.
	SlowReply FaultName = "slow-reply"
	// HoldReply does the work and holds the reply until the fault is removed or
	// Release is called. With OpSSH the command starts only then.
	HoldReply FaultName = "hold-reply"
	// HTMLBadGateway answers 502 with a page for people, without work.
	HTMLBadGateway FaultName = "html-bad-gateway"
	// OversizedReply does the work and puts 32 MiB of white space in front of
	// the reply.
	OversizedReply FaultName = "oversized-reply"
	// TruncatedReply does the work and cuts the connection in mid-reply.
	TruncatedReply FaultName = "truncated-reply"
	// WrongDate moves the forge's clock by Offset: Date header and creation
	// times.
	WrongDate FaultName = "wrong-date"
	// NoDate leaves the Date header out.
	NoDate FaultName = "no-date"
	// CredentialRevoked treats every credential as unknown.
	CredentialRevoked FaultName = "credential-revoked"
	// PolicyOff refuses registrations as if SetPolicy(false) had been called.
	PolicyOff FaultName = "policy-off"
	// DelayedSSH keeps a key unknown to the SSH server for Delay after its
	// registration. Op and Times do not apply.
	DelayedSSH FaultName = "delayed-ssh"
)

// FaultNames returns the names of all faults.
func FaultNames() []FaultName {
	return []FaultName{
		TooManyRequests, ErrorBefore, ErrorAfterEffect, CutBefore, CutAfterEffect, LateEffect, SlowReply, HoldReply,
		HTMLBadGateway, OversizedReply, TruncatedReply, WrongDate, NoDate, CredentialRevoked, PolicyOff, DelayedSSH,
	}
}

// Fault makes requests go wrong. Of the faults that decide a request's fate
// only the one injected first applies; SlowReply, WrongDate, NoDate,
// CredentialRevoked and PolicyOff apply besides it.
type Fault struct {
	Name       FaultName
	Op         Op            // what it is narrowed to; zero means OpAny
	Repository string        // narrowed to requests that name it; empty means all
	Times      int           // how many requests it meets; 0 means until removed
	Delay      time.Duration // of LateEffect, SlowReply and DelayedSSH
	RetryAfter time.Duration // of TooManyRequests, ErrorBefore and ErrorAfterEffect, in whole seconds; 0 sends no header
	Offset     time.Duration // of WrongDate; negative is the past
	Status     int           // in place of the status that the fault answers with
}

// Check reports why a fault can never happen as it is written.
func (f Fault) Check() error {
	if !slices.Contains(FaultNames(), f.Name) {
		return fmt.Errorf("unknown fault %q: one of %v", f.Name, FaultNames())
	}
	if f.Op != "" && !slices.Contains(ops(), f.Op) {
		return fmt.Errorf("unknown operation %q: one of %v", f.Op, ops())
	}
	onSSH := []FaultName{CutBefore, CutAfterEffect, SlowReply, HoldReply, DelayedSSH}
	if f.Op == OpSSH && !slices.Contains(onSSH, f.Name) {
		return fmt.Errorf("fault %q does not happen to ssh: only %v do", f.Name, onSSH)
	}
	if f.Op == OpSSH && f.Name == CutBefore && f.Repository != "" {
		return errors.New("an ssh connection is cut before it names a repository: leave the repository out")
	}
	if f.Times < 0 || f.Delay < 0 || f.RetryAfter < 0 {
		return errors.New("times, delay and retry-after must not be negative")
	}
	if f.Status != 0 && (f.Status < 400 || f.Status > 599) {
		return errors.New("status must be an error's, 400 to 599")
	}
	return nil
}

// modifies reports whether the fault applies besides others.
func (f Fault) modifies() bool {
	switch f.Name {
	case SlowReply, WrongDate, NoDate, CredentialRevoked, PolicyOff:
		return true
	case TooManyRequests, ErrorBefore, ErrorAfterEffect, CutBefore, CutAfterEffect, LateEffect, HoldReply,
		HTMLBadGateway, OversizedReply, TruncatedReply, DelayedSSH:
	}
	return false
}

// meets reports whether the fault is about such a request.
func (f Fault) meets(op Op, repository string) bool {
	if f.Name == DelayedSSH || f.Repository != "" && !strings.EqualFold(f.Repository, repository) {
		return false
	}
	if f.Op == "" || f.Op == OpAny {
		return op != OpSSH
	}
	return f.Op == op
}
