//go:build boot

package boot_test

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"deploykeyd/agent"
	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// The names of units that these tests speak of.
const (
	ours       = "deploykeyd.service"
	ciAgent    = "jenkins-agent.service"
	network    = "networking.service"
	cloudFinal = "cloud-final.service"
)

// upData is user-data with the one line that a machine needs.
const upData = "#cloud-config\nruncmd:\n  - [deploykeyd, up, --timeout, 60s]\n"

// builder returns the disk of an image with the package, a configuration for the
// site's forges, and a CI agent behind our gate that runs the given builds.
func builder(t *testing.T, site *site, builds string) *disk {
	t.Helper()
	d := newDisk(t, site)
	d.install(t, deb(t, firstVersion))
	site.configure(t, d)
	d.do(t, "deploykeyd", "service", "gate", ciAgent)
	d.write(t, "home/jenkins/builds", 0o644, builds)
	return d
}

// ready waits until the daemon says so and returns its status.
func (m *machine) ready(t *testing.T) agent.Status {
	t.Helper()
	m.do(t, "deploykeyd", "wait", "--timeout", patience.String())
	return m.status(t)
}

// status asks the daemon.
func (m *machine) status(t *testing.T) agent.Status {
	t.Helper()
	var s agent.Status
	if err := json.Unmarshal([]byte(m.do(t, "deploykeyd", "status", "--json")), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// built waits for n builds of the CI agent that began at or after a place in the
// journal.
func (m *machine) built(t *testing.T, from, n int) {
	t.Helper()
	m.log.await(t, "builds", from, n+1, said(ciAgent, "agent: clone ok")) // the first may have begun before
}

// The whole life of a build machine's disk: a clean life, one that ends with a
// power cut, the next one of the same machine, and one on another machine.
func TestLivesOfADisk(t *testing.T) {
	s := newSite(t)
	loop := "loop " + s.url(provision.GitHub, "acme/web") + "\n"
	d := builder(t, s, "release "+s.url(provision.Gitea, "acme/releases")+" v2.0.0\n"+loop)
	if s.requests() != 0 {
		t.Error("making the image spoke to a forge")
	}
	s.noKeys(t, "before the first boot")

	d.seed(t, "i-first", upData)
	t.Run("first boot", func(t *testing.T) { firstBoot(t, s, d) })

	var cut, second map[string]forgesim.Key
	t.Run("power cut", func(t *testing.T) {
		m := d.boot(t, s)
		m.built(t, 0, 1)
		m.cutPower(t)
		cut = s.otherKeys(t, "after the power cut", nil)
	})
	t.Run("same machine again", func(t *testing.T) {
		m := d.boot(t, s)
		m.built(t, 0, 1)
		status := m.ready(t)
		if status.Machine != "i-first" || len(status.Remaining) != 0 {
			t.Errorf("machine %s, remaining %v", status.Machine, status.Remaining)
		}
		second = s.otherKeys(t, "the boot after a power cut", cut)
		m.cutPower(t)
	})
	d.seed(t, "i-other", upData)
	t.Run("another machine", func(t *testing.T) { copiedDisk(t, s, d, second) })
}

func firstBoot(t *testing.T, s *site, d *disk) {
	t.Helper()
	m := d.boot(t, s)
	m.log.await(t, "the release", 0, 1, said(ciAgent, "agent: release ok"))
	m.log.await(t, "the end of runcmd", 0, 1, about(cloudFinal, "Finished"))
	status := m.ready(t)
	if status.Machine != "i-first" {
		t.Errorf("the machine is known as %s, not by its instance-id", status.Machine)
	}
	s.otherKeys(t, "the first boot", nil)
	tags := must(t, "git", "--git-dir", s.sim.Forge(provision.Gitea).GitDir("acme/releases"), "tag", "--list", "v2*")
	if strings.TrimSpace(tags) != "v2.0.0" {
		t.Errorf("tags on the forge: %q", tags)
	}
	if state, _ := m.try(t, "systemctl", "is-enabled", "deploykeyd-preemption.service"); strings.TrimSpace(state) != "disabled" {
		t.Errorf("the watcher for preemption notices is %q without being asked for", strings.TrimSpace(state))
	}
	m.wellProtected(t, status)

	// A revocation that takes its time: the network waits for it.
	for _, f := range s.sim.Forges() {
		f.Inject(forgesim.Fault{Name: forgesim.SlowReply, Op: forgesim.OpRevoke, Delay: time.Second})
		t.Cleanup(f.ClearFaults)
	}
	m.powerOff(t)
	s.noKeys(t, "after poweroff")
	order(t, readJournal(t, d),
		step{"the CI agent ends", said(ciAgent, "agent: told to stop")},
		step{"the CI agent has ended", about(ciAgent, "Stopped")},
		step{"deploykeyd stops", about(ours, "Stopping")},
		step{"deploykeyd has ended well", about(ours, "Deactivated successfully")},
		step{"deploykeyd has stopped", about(ours, "Stopped")},
		step{"the network goes down", about(network, "Stopping")},
	)
}

// copiedDisk boots a disk on another machine than the one that it comes from,
// which may be alive.
func copiedDisk(t *testing.T, s *site, d *disk, theirs map[string]forgesim.Key) {
	t.Helper()
	state := filepath.Join(d.root, "var/lib/deploykeyd")
	before := read(t, filepath.Join(state, "journal.db"))
	m := d.boot(t, s)
	m.built(t, 0, 1)
	status := m.ready(t)
	if status.Machine != "i-other" || !strings.Contains(strings.Join(status.Warnings, "\n"), "another machine") {
		t.Errorf("machine %s, warnings %q", status.Machine, status.Warnings)
	}
	now := s.keys()
	if len(now) != 2*configured {
		t.Errorf("%d keys are on the forges, want those of both machines", len(now))
	}
	m.powerOff(t)
	now = s.keys()
	for where := range theirs {
		if _, there := now[where]; !there {
			t.Errorf("the first machine's key is no longer on %s", where)
		}
	}
	if len(now) != len(theirs) {
		t.Errorf("%d keys are on the forges, want the %d of the first machine", len(now), len(theirs))
	}
	aside, err := filepath.Glob(filepath.Join(state, "journal.db.of-*"))
	if err != nil || len(aside) != 1 {
		t.Fatalf("journals set aside: %q, %v", aside, err)
	}
	if text, err := os.ReadFile(aside[0]); err != nil || !bytes.Equal(text, []byte(before)) {
		t.Errorf("the first machine's journal was changed: %v", err)
	}
}
