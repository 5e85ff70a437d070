package provision_test

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"strings"
	"testing"

	"deploykeyd/provision"
)

func TestErrorText(t *testing.T) {
	for want, e := range map[string]*provision.Error{
		"register acme/app on forge: denied (HTTP 403): no right": {
			Op: "register", Forge: "forge", Target: provision.RepositoryTarget("acme/app"),
			Class: provision.Denied, Status: 403, Message: "no right", Next: "grant it",
		},
		"list project acme/B: transient: cut": {Op: "list", Target: provision.Target{Path: "acme/B", Project: true}, Class: provision.Transient, Message: "cut"},
		"time on forge: rate limited":         {Op: "time", Forge: "forge", Class: provision.RateLimited},
	} {
		if e.Error() != want {
			t.Errorf("text is %q, want %q", e.Error(), want)
		}
	}
}

func TestErrorChain(t *testing.T) {
	cause := &provision.Error{Class: provision.Denied, Next: "grant it", Err: context.Canceled}
	wrapped := fmt.Errorf("plan: %w", cause)
	if provision.ClassOf(wrapped) != provision.Denied || provision.NextStep(wrapped) != "grant it" || provision.IsUncertain(wrapped) {
		t.Error("the chain hides the error")
	}
	if !errors.Is(wrapped, context.Canceled) {
		t.Error("the cause cannot be found")
	}
	cause.Uncertain = true
	if !provision.IsUncertain(wrapped) {
		t.Error("an uncertain error became certain")
	}
	plain := errors.New("x")
	if provision.ClassOf(plain) != provision.Transient || !provision.IsUncertain(plain) || provision.NextStep(plain) != "" {
		t.Error("an error of nobody's is given up on")
	}
	if provision.IsUncertain(nil) {
		t.Error("no error is uncertain")
	}
}

func TestClassRetryable(t *testing.T) {
	for _, c := range []provision.Class{
		provision.Exists, provision.InUseElsewhere, provision.TitleClash, provision.Invalid, provision.BadCredential,
		provision.Denied, provision.PolicyForbids, provision.NotFound, provision.Moved,
	} {
		if c.Retryable() {
			t.Errorf("%q is retried", c)
		}
	}
	if !provision.RateLimited.Retryable() || !provision.Transient.Retryable() {
		t.Error("nothing is retried")
	}
}

func TestParseKind(t *testing.T) {
	for _, k := range provision.Kinds() {
		if got, err := provision.ParseKind(string(k)); err != nil || got != k {
			t.Errorf("%q gives %q, %v", k, got, err)
		}
		if provision.TraitsOf(k).TitleLimit < 76 {
			t.Errorf("%s keeps titles too short for any owner tag", k)
		}
	}
	_, err := provision.ParseKind("githup")
	if err == nil || !strings.Contains(err.Error(), "github") || !strings.Contains(err.Error(), "bitbucket-cloud") {
		t.Errorf("gives %v", err)
	}
	if provision.TraitsOf("githup") != (provision.Traits{}) {
		t.Error("an unknown kind has traits")
	}
	if provision.TraitsOf(provision.BitbucketCloud).WriteAccess || !provision.TraitsOf(provision.GitHub).KeyPerRepository {
		t.Error("the traits that shape the plan are wrong")
	}
}

// listed is a forge that can only list.
type listed struct {
	provision.Forge
	keys []provision.Registration
	err  error
}

func (l listed) List(context.Context, provision.Target) iter.Seq2[provision.Registration, error] {
	return func(yield func(provision.Registration, error) bool) {
		for _, k := range l.keys {
			if !yield(k, nil) {
				return
			}
		}
		if l.err != nil {
			yield(provision.Registration{}, l.err)
		}
	}
}

func tagOf(k provision.PublicKey) string {
	return provision.OwnerTag{Fleet: "ci", Machine: "m", KeyHash: k.TagHash()}.String()
}

func TestFind(t *testing.T) {
	ours, theirs := mustKey(t, ed25519Line), mustKey(t, otherLine)
	forge := listed{keys: []provision.Registration{{ID: "0"}, {ID: "1", Key: theirs}, {ID: "2", Key: ours}}}
	if r, ok, err := provision.Find(t.Context(), forge, provision.Target{}, ours); err != nil || !ok || r.ID != "2" {
		t.Errorf("gives %+v, %v, %v", r, ok, err)
	}
	forge = listed{keys: forge.keys[:2]}
	if r, ok, err := provision.Find(t.Context(), forge, provision.Target{}, ours); err != nil || ok || r.ID != "" {
		t.Errorf("absent gives %+v, %v, %v", r, ok, err)
	}
	forge.keys = append(forge.keys, provision.Registration{ID: "3", Title: tagOf(theirs)})
	if _, ok, err := provision.Find(t.Context(), forge, provision.Target{}, ours); err != nil || ok {
		t.Errorf("another's unreadable entry gives %v, %v", ok, err)
	}
	forge.keys = append(forge.keys, provision.Registration{ID: "4", Title: tagOf(ours)})
	_, ok, err := provision.Find(t.Context(), forge, provision.RepositoryTarget("acme/app"), ours)
	if ok || provision.ClassOf(err) != provision.Transient || provision.IsUncertain(err) || provision.NextStep(err) == "" ||
		err.Error() != "list acme/app: transient: the forge lists the key with a text that cannot be read" {
		t.Errorf("our own unreadable entry gives %v, %v", ok, err)
	}
	forge.keys = append(forge.keys, provision.Registration{ID: "5", Key: ours})
	if r, ok, err := provision.Find(t.Context(), forge, provision.Target{}, ours); err != nil || !ok || r.ID != "5" {
		t.Errorf("a readable entry after it gives %+v, %v, %v", r, ok, err)
	}
	forge.keys = []provision.Registration{{ID: "6", Title: tagOf(ours), Key: theirs}}
	if _, ok, err := provision.Find(t.Context(), forge, provision.Target{}, ours); err != nil || ok {
		t.Errorf("our title on another key gives %v, %v", ok, err)
	}
	forge.err = errors.New("cut")
	if _, ok, err := provision.Find(t.Context(), forge, provision.Target{}, ours); err == nil || ok {
		t.Errorf("an incomplete list gives %v, %v", ok, err)
	}
}
