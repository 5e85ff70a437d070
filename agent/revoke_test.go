package agent_test

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
	"deploykeyd/agent/key"
	"deploykeyd/provision"
)

// foreignKey puts somebody else's key on a repository.
func foreignKey(t *testing.T, f *stubForge, path string) provision.Registration {
	t.Helper()
	k, err := key.Generate(key.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	public, err := provision.PublicKeyFromBlob(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	f.world.mu.Lock()
	defer f.world.mu.Unlock()
	return f.add(provision.Target{Path: path}, provision.KeyRequest{
		Title: "deploykeyd:ci:m2:0123456789abcdef:20260101T000000Z", Key: public, Access: provision.Read,
	})
}

// G6: a title that is not the one given, or a foreign key under our id, is
// never deleted.
func TestG6KeyUnderAnotherTitleIsNotDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := crashedWorld(t)
		w.mu.Lock()
		w.forges["tea"].keys["acme/api"][0].Title = "renamed by a person"
		w.mu.Unlock()
		remnants := revokeOnce(t, w)
		if len(remnants) != 1 || !strings.Contains(remnants[0].Reason, "renamed by a person") || remnants[0].Next == "" {
			t.Errorf("remnants %+v", remnants)
		}
		if n := len(w.forge("tea").live("acme/api")); n != 1 {
			t.Errorf("%d keys on the repository: the renamed one was deleted", n)
		}
		if len(w.journal()) != 1 {
			t.Errorf("%d records, want the one that may remain", len(w.journal()))
		}
	})
}

// G6: a title that names the very key, but as another fleet's.
func TestG6KeyUnderAnotherFleetsTagIsNotDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := crashedWorld(t)
		w.mu.Lock()
		theirs := &w.forges["tea"].keys["acme/api"][0].Title
		*theirs = strings.Replace(*theirs, ":ci:", ":other:", 1)
		w.mu.Unlock()
		if remnants := revokeOnce(t, w); len(remnants) != 1 || len(w.forge("tea").live("acme/api")) != 1 {
			t.Errorf("remnants %+v, keys %v", remnants, w.allKeys())
		}
	})
}

func TestG6ForeignKeyWithTheSameIDIsNotDeleted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := crashedWorld(t)
		foreign := foreignKey(t, w.forge("tea"), "acme/api")
		w.mu.Lock()
		keys := w.forges["tea"].keys["acme/api"]
		keys[1].ID = keys[0].ID // the id was given away again
		w.forges["tea"].keys["acme/api"] = keys[1:]
		w.mu.Unlock()
		if remnants := revokeOnce(t, w); len(remnants) != 0 {
			t.Errorf("remnants %+v", remnants)
		}
		if left := w.forge("tea").live("acme/api"); len(left) != 1 || left[0].Key != foreign.Key {
			t.Errorf("left %+v", left)
		}
	})
}

// G9: a forge's word that a key is deleted counts for nothing.
func TestG9DeletionIsBelievedOnlyFromTheList(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.forge("tea").revoke = func(string) error { return errSaysGone }
		l := w.start(t, w.options())
		l.awaitReady(t, time.Second)
		remnants := l.stop(t)
		if len(remnants) != 2 {
			t.Fatalf("remnants %+v, want both keys of the lying forge", remnants)
		}
		for _, r := range remnants {
			if r.Forge != "tea" || !strings.Contains(r.Reason, "still lists the key") || r.RemoteID == "" {
				t.Errorf("remnant %+v", r)
			}
		}
		if len(w.journal()) != 2 {
			t.Errorf("%d records, want the two that remain", len(w.journal()))
		}
	})
}

func TestStopObeysItsDeadline(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := readyWorld(t)
		w.mu.Lock()
		w.forges["hub"].latency = time.Hour
		w.mu.Unlock()
		began := time.Now()
		remnants := l.stop(t)
		if took := time.Since(began); took > 26*time.Second {
			t.Errorf("the stop took %v", took)
		}
		if len(remnants) != 2 || !strings.Contains(remnants[0].Reason, "time ran out") {
			t.Errorf("remnants %+v", remnants)
		}
		if keys := w.forge("tea").live("acme/api"); len(keys) != 0 {
			t.Error("the slow forge held up the other one")
		}
	})
}

func TestStopWaitsForAnAnswerUnderWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		w.forge("tea").latency = 2 * time.Second
		o := w.options()
		o.Forges = o.Forges[:1]
		o.Forges[0].Repositories = o.Forges[0].Repositories[:1]
		l := w.start(t, o)
		time.Sleep(time.Second) //nolint:forbidigo // virtual time
		if remnants := l.stop(t); len(remnants) != 0 || len(w.allKeys()) != 0 {
			t.Errorf("remnants %v, keys %v", remnants, w.allKeys())
		}
		want := []string{
			"put intended acme/api", "register acme/api", "put registered acme/api",
			"delete acme/api", "deleted acme/api", "list acme/api", "forget",
		}
		if diff := cmp.Diff(want, w.happened()); diff != "" {
			t.Errorf("the answer was not waited for (-want +got):\n%s", diff)
		}
	})
}

func TestStopBeforeAnythingWasSentIsClean(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld()
		for _, name := range []string{"tea", "hub"} {
			w.forge(name).register = func(string) fault {
				return fault{refuse: &provision.Error{Class: provision.Transient, Message: "no such host"}}
			}
			w.forge(name).list = func(string) error {
				return &provision.Error{Class: provision.Transient, Message: "no such host"}
			}
		}
		l := w.start(t, w.options())
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time
		if remnants := l.stop(t); len(remnants) != 0 || len(w.journal()) != 0 {
			t.Errorf("remnants %v, records %d: nothing was ever sent", remnants, len(w.journal()))
		}
	})
}

func TestForgeGoneFromTheConfigurationIsNamed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := crashedWorld(t)
		o := w.options()
		o.Forges = o.Forges[1:]
		second := w.start(t, o)
		second.awaitReady(t, time.Minute)
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time
		remnants := second.stop(t)
		if len(remnants) != 2 || !strings.Contains(remnants[0].Reason, "https://tea.test") || remnants[0].Next == "" {
			t.Errorf("remnants %+v", remnants)
		}
		if n := len(w.forge("hub").live("acme/one")); n != 0 {
			t.Errorf("%d keys left on the forge that is configured", n)
		}
	})
}

func TestConfigurationChangedBetweenRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := crashedWorld(t)
		o := w.options()
		o.Fleet, o.Machine = "renamed", "other"
		o.Forges[0].Name = "kettle" // same forge under another name
		o.Forges[0].Repositories = o.Forges[0].Repositories[:1]
		w.mu.Lock()
		w.forges["kettle"] = w.forges["tea"]
		w.mu.Unlock()
		second := w.start(t, o)
		second.awaitReady(t, time.Minute)
		time.Sleep(time.Minute) //nolint:forbidigo // virtual time
		for path, want := range map[string]int{"acme/api": 1, "acme/rel": 0} {
			if n := len(w.forge("tea").live(path)); n != want {
				t.Errorf("%s has %d keys, want %d", path, n, want)
			}
		}
		if remnants := second.stop(t); len(remnants) != 0 {
			t.Errorf("remnants %+v", remnants)
		}
	})
}

func TestWeakMachineLeavesOtherBootsAloneUntilTheyExpire(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := crashedWorld(t)
		o := w.options()
		o.Boot, o.WeakMachine = "boot-2", true
		second := w.start(t, o)
		second.awaitReady(t, time.Minute)
		if n := len(w.forge("tea").live("acme/api")); n != 2 {
			t.Errorf("%d keys, want the other boot's beside ours", n)
		}
		if s := second.Status(); len(s.Remaining) != 4 || !strings.Contains(s.Remaining[0].Reason, "machine-id") {
			t.Errorf("remaining %+v", s.Remaining)
		}
		time.Sleep(25 * time.Hour) //nolint:forbidigo // virtual time
		if n := len(w.forge("tea").live("acme/api")); n != 1 {
			t.Errorf("%d keys after the expiry, want ours alone", n)
		}
		if remnants := second.stop(t); len(remnants) != 0 {
			t.Errorf("remnants %+v", remnants)
		}
	})
}

func TestRevokeByCommandLeavesTheAgentWithoutKeys(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, l := readyWorld(t)
		for range 2 { // idempotent
			remnants := l.Revoke(t.Context())
			if len(remnants) != 0 || len(w.allKeys()) != 0 || len(w.lent) != 0 {
				t.Fatalf("remnants %v, keys %v", remnants, w.allKeys())
			}
		}
		if s := l.Status(); s.Phase != agent.Revoked || s.Ready || s.Repositories[0].Condition != agent.ConditionWaiting {
			t.Errorf("status %+v", s)
		}
		if _, err := l.Verify(t.Context()); err == nil {
			t.Error("verify after revoke went on")
		}
		if remnants := l.stop(t); len(remnants) != 0 {
			t.Errorf("remnants %v", remnants)
		}
	})
}

// A repository that has left the configuration is revoked with the entry of its
// owner: the credential of another owner's may not reach it.
func TestLeftoverOfADroppedRepositoryGoesToItsOwnersEntry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := crashedWorld(t)
		old := w.forge("tea")
		w.forges["renamed"], w.forges["tea"] = old, w.forge("others") // which has taken the name
		o := w.options()
		o.Forges[0].Repositories = []agent.RepositoryAccess{{Repository: "else/where", Access: provision.Read}}
		renamed := o.Forges[0]
		renamed.Name, renamed.Forge = "renamed", old
		renamed.Repositories = []agent.RepositoryAccess{{Repository: "acme/other", Access: provision.Read}}
		o.Forges = append(o.Forges, renamed)
		l := w.start(t, o)
		l.awaitReady(t, time.Second)
		synctest.Wait()
		if live := old.live("acme/api"); len(live) != 0 || len(l.Status().Remaining) != 0 {
			t.Errorf("keys %+v, remaining %+v", live, l.Status().Remaining)
		}
		l.stop(t)
	})
}
