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
	// gateTimeout is how long the gate holds the boot up at most: the time that
	// its drop-in gives to "deploykeyd wait".
	gateTimeout = 2 * time.Second
	// noise is what two boots of the same disk may differ by on a busy machine. It
	// is far below what a start that waits for a forge takes.
	noise = 15 * time.Second
)

// A boot is as quick as one without deploykeyd when no forge answers, says what
// is in the way, and becomes ready by itself when they do.
func TestForgesUnreachableAtBoot(t *testing.T) {
	s := newSite(t)
	var plain bootTimes
	t.Run("without deploykeyd", func(t *testing.T) {
		d := newDisk(t, s)
		d.write(t, "home/jenkins/builds", 0o644, "")
		d.seed(t, "i-plain", "#cloud-config\nruncmd:\n  - [echo, nothing to do]\n")
		plain = d.boot(t, s).times(t)
	})
	for _, c := range []struct {
		name    string
		make    func(t *testing.T) (end func())
		timeout time.Duration // of up
		reason  string
	}{
		{"refusing", s.refuse, 6 * time.Second, "connection refused"},
		{"silent", s.silence, 15 * time.Second, "i/o timeout"}, // a connection is waited for 10 seconds
	} {
		t.Run(c.name, func(t *testing.T) {
			d := builder(t, s, "loop "+s.url(provision.GitHub, "acme/web")+"\n")
			up := `deploykeyd up --timeout ` + c.timeout.String() + `; echo "up: exit status $?"`
			d.seed(t, "i-"+c.name, "#cloud-config\nruncmd:\n  - [sh, -c, '"+up+"']\n")
			end := c.make(t)
			m := d.boot(t, s)
			m.isNotHeldUp(t, plain, c.timeout)
			m.isHeldBack(t, s, c.reason)
			m.comesUp(t, s, end)
			m.powerOff(t)
			s.noKeys(t, "after poweroff")
		})
	}
}

// isNotHeldUp checks that the boot took as long as the plain one, but for what
// the gate and up may take.
func (m *machine) isNotHeldUp(t *testing.T, plain bootTimes, upTimeout time.Duration) {
	t.Helper()
	held := m.times(t)
	t.Logf("multi-user.target: %v, without deploykeyd %v; end of cloud-init: %v, without deploykeyd %v",
		held.multiUser, plain.multiUser, held.cloudFinal, plain.cloudFinal)
	if most := plain.multiUser + gateTimeout + noise; held.multiUser > most {
		t.Errorf("multi-user.target was reached after %v, want at most %v", held.multiUser, most)
	}
	if most := plain.cloudFinal + upTimeout + gateTimeout + noise; held.cloudFinal > most {
		t.Errorf("cloud-init ended after %v, want at most %v", held.cloudFinal, most)
	}
}

// isHeldBack checks what a machine looks like whose forges do not answer.
func (m *machine) isHeldBack(t *testing.T, s *site, reason string) {
	t.Helper()
	output := m.disk.read(t, "var/log/cloud-init-output.log")
	for _, words := range []string{"up: exit status 4", "0 of 8 repositories verified", "acme/api on gitea is waiting: ", reason, "next: "} {
		if !strings.Contains(output, words) {
			t.Errorf("cloud-init's output does not have %q", words)
		}
	}
	t.Logf("cloud-init's output:\n%s", output[max(0, strings.Index(output, "deploykeyd.yaml is valid")):])
	if started := m.log.since(0, said(ciAgent, "agent: started")); len(started) > 0 {
		t.Errorf("the gate did not hold the CI agent back: %s", started[0])
	}
	m.log.await(t, "the gate's second refusal", 0, 2, about(ciAgent, "Scheduled restart job"))
	if state := m.show(t, "ActiveState", ours); state != "active" {
		t.Errorf("deploykeyd is %s", state)
	}
	s.noKeys(t, "while no forge answers")
}

// comesUp lets the forges answer and waits for everything to be ready, without a
// hand.
func (m *machine) comesUp(t *testing.T, s *site, end func()) {
	t.Helper()
	from, since := m.log.now(), time.Now()
	end()
	m.log.await(t, "the CI agent's first build", from, 1, said(ciAgent, "agent: clone ok"))
	t.Logf("the first build was done %v after the forges could be reached", time.Since(since).Round(100*time.Millisecond))
	m.ready(t)
	s.otherKeys(t, "after the forges could be reached", nil)
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
