package rest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"sync"

	"deploykeyd/provision"
)

// Path returns the escaped "owner/name" of a target that is a repository. The
// error says that the target is none that this forge can have.
func (c *Client) Path(op Op, t provision.Target) (string, error) {
	call := Call{Op: op, Target: t}
	name, ok := t.Repository()
	if !ok {
		e := c.failure(call, provision.Invalid, "keys of a whole project are not supported")
		e.Next = "name the repositories one by one"
		return "", e
	}
	repo, err := provision.ParseRepository(c.options.Kind, string(name))
	if err != nil {
		e := c.failure(call, provision.Invalid, oneLine(err.Error()))
		e.Next = "correct the repository's name in the configuration"
		return "", e
	}
	return url.PathEscape(repo.Owner()) + "/" + url.PathEscape(repo.Name()), nil
}

// Check refuses a request that the forge would refuse, or understand otherwise
// than it was meant.
func (c *Client) Check(call Call, r provision.KeyRequest) error {
	traits := provision.TraitsOf(c.options.Kind)
	refuse := func(message, next string) error {
		e := c.failure(call, provision.Invalid, message)
		e.Next = next
		return e
	}
	switch {
	case r.Key.IsZero():
		return refuse("there is no key to register", nextReport)
	case r.Title == "" || len(r.Title) > traits.TitleLimit:
		return refuse(fmt.Sprintf("a title has between 1 and %d bytes here, not %d", traits.TitleLimit, len(r.Title)), "choose a shorter fleet or machine name")
	case r.Access == provision.Write && !traits.WriteAccess:
		return refuse("deploy keys on this forge can only read", "set access: read for this repository")
	case r.Access != provision.Read && r.Access != provision.Write:
		return refuse(fmt.Sprintf("access is %q, neither read nor write", r.Access), nextReport)
	}
	return nil
}

// nextReport is said of what no configuration can cause.
const nextReport = "report this: it is a fault of deploykeyd"

// Registered ends a registration. A reply is believed only when it is about
// the very key that was sent. A refusal of class Exists says that the forge
// knows the key and leaves open from where: the list decides between success
// and the class elsewhere.
func (c *Client) Registered(ctx context.Context, f provision.Forge, call Call, key provision.PublicKey, made provision.Registration, err error, elsewhere provision.Class) (provision.Registration, error) {
	if err == nil {
		if made.ID == "" || made.Key != key {
			e := c.failure(call, provision.Transient, "the forge's reply is not about the key that was sent")
			e.Status, e.Uncertain = call.Status, true
			return provision.Registration{}, e
		}
		c.seen.add(call.Target, made)
		return made, nil
	}
	refusal, ok := errors.AsType[*provision.Error](err)
	if !ok || refusal.Class != provision.Exists {
		return provision.Registration{}, err
	}
	there, found, err := provision.Find(ctx, f, call.Target, key)
	if found {
		return there, nil
	}
	if err != nil {
		e := c.instead(call, err, true, "the forge has the key already, and the list that could show where cannot be read")
		return provision.Registration{}, e
	}
	refusal.Class = elsewhere
	refusal.Uncertain = refusal.Uncertain || elsewhere.Retryable()
	return provision.Registration{}, refusal
}

// Revoke deletes r below the call's path, which is that of the target's keys,
// once r has been seen on that target in this run. Some forges delete by an id whatever repository
// it belongs to. A forge that does not find the key is believed only when its
// list does not show it either: it hides from a credential what it may not see.
func (c *Client) Revoke(ctx context.Context, f provision.Forge, call Call, r provision.Registration) error {
	call.Path += "/" + url.PathEscape(r.ID)
	call.Method, call.Status = http.MethodDelete, http.StatusNoContent
	if r.ID == "" {
		e := c.failure(call, provision.Invalid, "a registration without an id cannot be revoked")
		e.Next = nextReport
		return e
	}
	if !c.seen.has(call.Target, r) {
		there, err := c.lookUp(ctx, f, call, r, false)
		if err != nil || !there {
			return err
		}
	}
	_, err := c.Do(ctx, call, nil)
	uncertain := provision.IsUncertain(err)
	switch {
	case err == nil:
		c.seen.remove(call.Target, r)
		return nil
	case provision.ClassOf(err) != provision.NotFound:
		return err
	}
	there, listErr := c.lookUp(ctx, f, call, r, uncertain)
	if listErr != nil || !there {
		return listErr
	}
	refusal := c.failure(call, provision.Denied, "the forge lists the key and does not find it to delete")
	refusal.Status, refusal.Next, refusal.Uncertain = http.StatusNotFound, provision.NextStep(err), uncertain
	return refusal
}

// lookUp reports whether the target's list has r. The call may have taken effect
// before when that is uncertain.
func (c *Client) lookUp(ctx context.Context, f provision.Forge, call Call, r provision.Registration, uncertain bool) (bool, error) {
	for at, err := range f.List(ctx, call.Target) {
		switch {
		case err != nil:
			return false, c.instead(call, err, uncertain, "the list that should show the key cannot be read")
		case at.ID == r.ID && at.Key != r.Key:
			e := c.failure(call, provision.Invalid, "the id belongs to another key now")
			e.Next = "nothing: the key that was to be revoked is not there under this id"
			return false, e
		case at.ID == r.ID:
			return true, nil
		}
	}
	return false, nil
}

// instead turns a list's failure into one of the call that needed the list, and
// that may have taken effect when that is uncertain.
func (c *Client) instead(call Call, err error, uncertain bool, message string) *provision.Error {
	e := c.failure(call, provision.ClassOf(err), message)
	e.Next, e.Err, e.Uncertain = provision.NextStep(err), contextError(err), uncertain || provision.IsUncertain(err)
	if cause, ok := errors.AsType[*provision.Error](err); ok {
		e.Status, e.RetryAfter = cause.Status, cause.RetryAfter
		if cause.Message != "" {
			e.Message += ": " + cause.Message
		}
	}
	return e
}

// seen remembers which registrations the forge has shown on which target.
type seen struct {
	mu      sync.Mutex
	targets map[provision.Target]map[string]provision.PublicKey // by id
}

func (s *seen) add(t provision.Target, r provision.Registration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.targets == nil {
		s.targets = map[provision.Target]map[string]provision.PublicKey{}
	}
	if s.targets[t] == nil {
		s.targets[t] = map[string]provision.PublicKey{}
	}
	s.targets[t][r.ID] = r.Key
}

// replace takes a complete list's word for all that is on the target.
func (s *seen) replace(t provision.Target, ids map[string]provision.PublicKey) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.targets == nil {
		s.targets = map[provision.Target]map[string]provision.PublicKey{}
	}
	s.targets[t] = ids
}

func (s *seen) remove(t provision.Target, r provision.Registration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.targets[t], r.ID)
}

func (s *seen) has(t provision.Target, r provision.Registration) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	key, ok := s.targets[t][r.ID]
	return ok && key == r.Key
}
