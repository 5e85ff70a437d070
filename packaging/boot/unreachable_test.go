//go:build boot

package boot_test

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
)

const (
	// upTimeout is how long "up" may wait in the test below: longer than a
	// connection to a forge is waited for, so that the reason is known.
	upTimeout = 15 * time.Second
	// gateTimeout is how long the gate holds the boot up at most: the time that
	// its drop-in gives to "deploykeyd wait".
	gateTimeout = 2 * time.Second
	// noise is what two boots of the same disk may differ by on a busy machine.
	noise = 5 * time.Second
)

// A boot is as quick as one without deploykeyd when no forge answers, says what
// is in the way, and becomes ready by itself when they do.
func TestForgesUnreachableAtBoot(t *testing.T) {
	s := newSite(t)
	var plain, held bootTimes
	t.Run("without deploykeyd", func(t *testing.T) {
		d := newDisk(t, s)
		d.write(t, "home/jenkins/builds", 0o644, "")
		d.seed(t, "i-plain", "#cloud-config\nruncmd:\n  - [echo, nothing to do]\n")
		plain = d.boot(t, s).times(t)
	})
	t.Run("with deploykeyd", func(t *testing.T) {
		d := builder(t, s, "loop "+s.url(provision.GitHub, "acme/web")+"\n")
		up := `deploykeyd up --timeout ` + upTimeout.String() + `; echo "up: exit status $?"`
		d.seed(t, "i-held", "#cloud-config\nruncmd:\n  - [sh, -c, '"+up+"']\n")
		hear := s.silence(t)
		m := d.boot(t, s)
		held = m.times(t)
		m.isHeldBack(t, s)
		from, since := m.log.now(), time.Now()
		hear()
		m.log.await(t, "the CI agent's first build", from, 1, said(ciAgent, "agent: clone ok"))
		t.Logf("the first build was done %v after the forges could be reached", time.Since(since).Round(100*time.Millisecond))
		m.ready(t)
		s.otherKeys(t, "after the forges could be reached", nil)
	})
	t.Logf("multi-user: %v with, %v without; end of cloud-init: %v with, %v without",
		held.multiUser, plain.multiUser, held.cloudFinal, plain.cloudFinal)
	if most := plain.multiUser + gateTimeout + noise; held.multiUser > most {
		t.Errorf("multi-user.target was reached after %v, want at most %v", held.multiUser, most)
	}
	if most := plain.cloudFinal + upTimeout + gateTimeout + noise; held.cloudFinal > most {
		t.Errorf("cloud-init ended after %v, want at most %v", held.cloudFinal, most)
	}
}

// isHeldBack checks what a machine looks like whose forges do not answer.
func (m *machine) isHeldBack(t *testing.T, s *site) {
	t.Helper()
	output := m.disk.read(t, "var/log/cloud-init-output.log")
	for _, words := range []string{"up: exit status 4", "0 of 8 repositories verified", "acme/api on gitea is waiting: ", "i/o timeout", "next:"} {
		if !strings.Contains(output, words) {
			t.Errorf("cloud-init's output does not have %q", words)
		}
	}
	t.Logf("cloud-init's output:\n%s", output[max(0, strings.LastIndex(output, "repositories verified")-200):])
	if started := m.log.since(0, said(ciAgent, "agent: started")); len(started) > 0 {
		t.Errorf("the gate did not hold the CI agent back: %s", started[0])
	}
	m.log.await(t, "the gate's second refusal", 0, 2, about(ciAgent, "Scheduled restart job"))
	if state := m.show(t, "ActiveState", ours); state != "active" {
		t.Errorf("deploykeyd is %s", state)
	}
	s.noKeys(t, "while no forge answers")
}

// bootTimes is how long after the start of systemd something was reached.
type bootTimes struct{ multiUser, cloudFinal time.Duration }

// times waits for the end of the boot and of cloud-init.
func (m *machine) times(t *testing.T) bootTimes {
	t.Helper()
	m.log.await(t, "multi-user.target", 0, 1, about("multi-user.target", "Reached target"))
	m.log.await(t, "the end of cloud-init", 0, 1, about(cloudFinal, "Finished"))
	began, err := strconv.ParseInt(m.show(t, "UserspaceTimestampMonotonic"), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	at := func(match func(entry) bool) time.Duration {
		return (m.log.since(0, match)[0].At - time.Duration(began)*time.Microsecond).Round(100 * time.Millisecond)
	}
	return bootTimes{at(about("multi-user.target", "Reached target")), at(about(cloudFinal, "Finished"))}
}
