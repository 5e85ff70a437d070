package main_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"maps"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"deploykeyd/agent"
	"deploykeyd/provision"
)

// ids returns every deploy key of the forges, with the forge's own id: a key
// that was deleted and registered again is another.
func (s *site) ids() []string {
	var list []string
	for _, f := range s.sim.Forges() {
		for _, k := range f.AllKeys() {
			list = append(list, fmt.Sprintf("%s %s %v", f.Kind(), k.Repository, k.ID))
		}
	}
	slices.Sort(list)
	return list
}

// builds is a loop of clones, as a busy machine has it.
type builds struct {
	stop   context.CancelFunc
	done   chan struct{}
	ended  chan struct{} // told of each clone, if anybody listens
	clones int
	failed []string
}

// build clones over and over as the listed user, until end.
func (s *site) build(t *testing.T) *builds {
	t.Helper()
	config := s.clientConfig(t)
	home, err := os.MkdirTemp(s.dir, "home")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(home, listedUID, listedUID); err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.WithoutCancel(t.Context()))
	b := &builds{stop: stop, done: make(chan struct{}), ended: make(chan struct{})}
	urls := []string{s.url(provision.Gitea, "acme/api"), s.url(provision.GitHub, "acme/web"), s.url(provision.BitbucketCloud, "acme/api")}
	go func() {
		defer close(b.done)
		for ctx.Err() == nil {
			c := exec.CommandContext(context.WithoutCancel(ctx), "git", "clone", "--quiet", urls[b.clones%len(urls)], filepath.Join(home, fmt.Sprint(b.clones)))
			c.Dir = home
			c.Env = []string{
				"PATH=" + os.Getenv("PATH"), "HOME=" + home, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1",
				"GIT_SSH_COMMAND=ssh -o BatchMode=yes -F " + config,
			}
			c.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: listedUID, Gid: listedUID}, Pdeathsig: syscall.SIGKILL}
			var said bytes.Buffer
			c.Stdout, c.Stderr = &said, &said
			if err := c.Run(); err != nil {
				b.failed = append(b.failed, fmt.Sprintf("%v: %s", err, said.String()))
			}
			b.clones++
			select {
			case b.ended <- struct{}{}:
			default:
			}
		}
	}()
	t.Cleanup(func() {
		stop()
		<-b.done
	})
	return b
}

// another waits until a clone has ended, so that the next is under way.
func (b *builds) another(t *testing.T) {
	t.Helper()
	select {
	case <-b.ended:
	case <-time.After(patience):
		t.Fatal("the builds do not go on")
	}
}

// end stops the loop; no clone may have failed.
func (b *builds) end(t *testing.T) {
	t.Helper()
	b.stop()
	<-b.done
	if len(b.failed) > 0 || b.clones < 3 {
		t.Errorf("%d of %d clones failed: %s", len(b.failed), b.clones, strings.Join(b.failed, "\n"))
	}
}

// startedAfter waits for a daemon that began later than the one with the status.
func (d *daemon) startedAfter(t *testing.T, before agent.Status) {
	t.Helper()
	d.until(t, "another process serves", func(s agent.Status) bool { return s.Started.After(before.Started) && s.Ready })
}

func TestReloadKeepsTheKeys(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	before, ids := d.status(t), s.ids()
	b := s.build(t)
	for range 3 {
		last := d.status(t)
		b.another(t)
		d.signal(t, syscall.SIGHUP)
		d.startedAfter(t, last)
	}
	b.another(t)
	b.end(t)
	if now := s.ids(); !slices.Equal(now, ids) {
		t.Errorf("the keys were %v and are %v", ids, now)
	}
	status := d.status(t)
	for i, r := range status.Repositories {
		if was := before.Repositories[i]; r.Fingerprint != was.Fingerprint || !r.Verified.Equal(was.Verified) {
			t.Errorf("%s has %s since %v, and had %s since %v", r.Repository, r.Fingerprint, r.Verified, was.Fingerprint, was.Verified)
		}
	}
	if len(status.Remaining) != 0 {
		t.Errorf("remaining: %v", status.Remaining)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys after the stop: %v", keys)
	}
}

func TestReloadTakesUpTheConfiguration(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	ids := s.ids()
	last := d.status(t)
	s.rewrite(t, "      - acme/web\n", "")
	d.signal(t, syscall.SIGHUP)
	d.startedAfter(t, last)
	d.until(t, "what is not configured any more is revoked", func(st agent.Status) bool { return len(st.Remaining) == 0 })
	want := slices.DeleteFunc(slices.Clone(ids), func(id string) bool { return strings.Contains(id, "acme/web") })
	if now := s.ids(); !slices.Equal(now, want) {
		t.Errorf("the keys are %v, want %v", now, want)
	}

	last = d.status(t)
	s.rewrite(t, "      - acme/api\n", "      - acme/api\n      - acme/web\n")
	s.rewrite(t, "users: [", "users: ["+otherUser+", ")
	d.signal(t, syscall.SIGHUP)
	d.startedAfter(t, last)
	if diff := maps.Equal(s.keys(), onePerPlan()); !diff {
		t.Errorf("keys %v, want %v", s.keys(), onePerPlan())
	}
	if code, said := s.git(t, otherUID, "clone", "--quiet", s.url(provision.Gitea, "acme/web"), "clone"); code != 0 {
		t.Errorf("a user that the new configuration lists cannot clone: %s", said)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

func TestABrokenConfigurationIsNotTakenUp(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	before, ids := d.status(t), s.ids()
	s.rewrite(t, "fleet: test", "flet: test")
	d.signal(t, syscall.SIGHUP)
	d.logs(t, "not reloaded")
	if now := d.status(t); !now.Started.Equal(before.Started) || !now.Ready {
		t.Errorf("the daemon did not go on: %+v", now)
	}
	s.rewrite(t, "flet: test", "fleet: test")
	if code, said := s.git(t, listedUID, "clone", "--quiet", s.url(provision.Gitea, "acme/api"), "clone"); code != 0 {
		t.Errorf("clone: %s", said)
	}
	d.signal(t, syscall.SIGHUP)
	d.startedAfter(t, before)
	if now := s.ids(); !slices.Equal(now, ids) {
		t.Errorf("the keys were %v and are %v", ids, now)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// A hostile or stuck client keeps neither the reload nor the stop.
func TestAStopDuringAReloadRevokes(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	c := s.silentClient(t)
	d.signal(t, syscall.SIGHUP)
	d.logs(t, "reloading")
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	_ = c.Close()
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys after the stop: %v", keys)
	}
}

// TestARevocationDuringAReloadHolds has a client that keeps the reload draining
// while deploykeyd revoke comes in on a connection that was there before.
func TestARevocationDuringAReloadHolds(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	_ = s.silentClient(t)
	asking := s.connectControl(t)
	d.signal(t, syscall.SIGHUP)
	d.logs(t, "reloading")
	reply := asking.revoke(t)
	if !strings.Contains(reply, "200 OK") {
		t.Errorf("the revocation was answered by %q", reply)
	}
	if status := d.until(t, "the daemon stays revoked", func(s agent.Status) bool { return s.Phase == agent.Revoked }); status.Ready {
		t.Errorf("ready: %+v", status)
	}
	if code, said := s.git(t, listedUID, "ls-remote", s.url(provision.Gitea, "acme/api")); code == 0 {
		t.Errorf("git still gets in: %s", said)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys after the revocation: %v", keys)
	}
}

func TestNothingIsReloadedAfterARevocation(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	if code, _, stderr := s.do(t, "revoke"); code != 0 {
		t.Fatalf("revoke: exit status %d: %s", code, stderr)
	}
	d.signal(t, syscall.SIGHUP)
	d.logs(t, "not reloaded")
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys: %v", keys)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
}

// Another machine's daemon would leave this one's journal alone, and its keys.
func TestAReloadMakesNoOtherMachine(t *testing.T) {
	t.Parallel()
	s, d := readySite(t)
	ids := s.ids()
	s.rewrite(t, "machine: m1", "machine: m2")
	d.signal(t, syscall.SIGHUP)
	d.logs(t, "not reloaded")
	if now := s.ids(); !slices.Equal(now, ids) {
		t.Errorf("the keys were %v and are %v", ids, now)
	}
	if code := d.terminate(t); code != 0 {
		t.Errorf("exit status %d", code)
	}
	if keys := s.keys(); len(keys) != 0 {
		t.Errorf("keys after the stop: %v", keys)
	}
}

// logs waits until the daemon has logged a message.
func (d *daemon) logs(t *testing.T, message string) {
	t.Helper()
	deadline := time.After(patience)
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for !strings.Contains(d.log.String(), message) {
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatalf("the daemon did not say %q", message)
		}
	}
}

// silentClient connects to the agent and says nothing.
func (s *site) silentClient(t *testing.T) net.Conn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "unix", s.agentSocket())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// controlConn is a connection to the control socket that asks later.
type controlConn struct{ net.Conn }

func (s *site) connectControl(t *testing.T) controlConn {
	t.Helper()
	var d net.Dialer
	c, err := d.DialContext(t.Context(), "unix", filepath.Join(s.runDir(), "control.sock"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return controlConn{c}
}

// revoke returns the first line of the answer.
func (c controlConn) revoke(t *testing.T) string {
	t.Helper()
	if err := c.SetDeadline(time.Now().Add(patience)); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write([]byte("POST /v1/revoke HTTP/1.1\r\nHost: deploykeyd\r\nContent-Length: 0\r\n\r\n")); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return line
}
