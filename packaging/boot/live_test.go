//go:build boot

package boot_test

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// live is a machine in service: its CI agent clones without end.
type live struct {
	*machine
	site          *site
	keys          map[string]forgesim.Key
	registrations int
	pid           string // of the CI agent
}

// What must keep the keys keeps them, what must not does not, and neither ends
// the CI agent, on one machine that is in service throughout.
func TestAMachineInService(t *testing.T) {
	s := newSite(t)
	d := builder(t, s, "loop "+s.url(provision.GitHub, "acme/web")+"\n")
	d.seed(t, "i-live", upData)
	m := &live{machine: d.boot(t, s), site: s}
	m.built(t, 0, 1)
	m.ready(t)
	m.keys, m.registrations = s.otherKeys(t, "at first", nil), s.registrations()
	m.pid = m.show(t, "MainPID", ciAgent)

	m.survives(t, "a reload", func(t *testing.T) { m.renews(t, m.reload) })
	m.survives(t, "a second reload", func(t *testing.T) { m.renews(t, m.reload) })
	m.survives(t, "an upgrade", func(t *testing.T) {
		m.disk.write(t, "root/deploykeyd.deb", 0o644, read(t, deb(t, secondVersion)))
		m.renews(t, func(t *testing.T) { m.do(t, "dpkg", "-i", "/root/deploykeyd.deb") })
		if v := m.ready(t).Version; v != secondVersion {
			t.Errorf("the version that runs is %s, want %s", v, secondVersion)
		}
	})
	m.survives(t, "a crash", m.crash)
	m.survives(t, "a second crash", m.crash)
	if failed := m.log.since(0, said(ciAgent, "agent: clone failed")); len(failed) > 0 {
		t.Errorf("%d clones failed, the first: %s", len(failed), failed[0])
	}
	t.Logf("%d clones, none failed", len(m.log.since(0, said(ciAgent, "agent: clone ok"))))

	t.Run("restart", m.restarts)
	t.Run("stop and start", m.stops)
	t.Run("removal", m.isRemoved)
}

// survives does something to the daemon while builds go on, and checks that
// keys, builds and the CI agent have not noticed.
func (m *live) survives(t *testing.T, what string, do func(t *testing.T)) {
	t.Run(what, func(t *testing.T) {
		from := m.log.now()
		do(t)
		m.built(t, m.log.now(), 2)
		if status := m.ready(t); len(status.Remaining) != 0 {
			t.Errorf("remaining: %v", status.Remaining)
		}
		m.site.sameKeys(t, "after "+what, m.keys, m.registrations)
		m.agentLives(t)
		for _, e := range m.log.since(from, said(ciAgent, "agent: clone failed")) {
			t.Error(e)
		}
	})
}

// agentLives fails the test when the CI agent is another process than at first.
func (m *live) agentLives(t *testing.T) {
	t.Helper()
	if pid := m.show(t, "MainPID", ciAgent); pid != m.pid {
		t.Errorf("the CI agent was process %s and is %s", m.pid, pid)
	}
}

func (m *live) reload(t *testing.T) {
	t.Helper()
	m.do(t, "systemctl", "reload", ours)
}

// renews does what makes the daemon execute anew in place, and waits until it
// serves again.
func (m *live) renews(t *testing.T, do func(t *testing.T)) {
	t.Helper()
	from, pid := m.log.now(), m.show(t, "MainPID", ours)
	do(t)
	m.log.await(t, "the daemon runs anew", from, 1, said(ours, "msg=running"))
	if now := m.show(t, "MainPID", ours); now != pid {
		t.Errorf("the daemon was process %s and is %s", pid, now)
	}
}

// crash kills the daemon between two builds, so that no login is under way: one
// that is talks to a process that is dead then, and nothing can mend that. The
// next build begins while there is no daemon.
func (m *live) crash(t *testing.T) {
	t.Helper()
	from := m.log.now()
	lock, err := os.OpenFile(filepath.Join(m.disk.root, "home/jenkins/between"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	m.do(t, "systemctl", "kill", "--kill-whom=main", "--signal=SIGKILL", ours)
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	m.log.await(t, "systemd notices the crash", from, 1, about(ours, "Main process exited"))
	m.log.await(t, "the daemon runs anew", from, 1, said(ours, "msg=running"))
}

// restarts shows that a restart is a stop and a start: new keys.
func (m *live) restarts(t *testing.T) {
	m.do(t, "systemctl", "restart", ours)
	m.ready(t)
	m.keys = m.site.otherKeys(t, "after restart", m.keys)
	m.agentLives(t)
}

func (m *live) stops(t *testing.T) {
	m.do(t, "systemctl", "stop", ours)
	m.site.noKeys(t, "after stop")
	m.agentLives(t)
	from := m.log.now()
	m.do(t, "systemctl", "start", ours)
	m.ready(t)
	m.keys = m.site.otherKeys(t, "after start", m.keys)
	m.built(t, from, 1)
}

// isRemoved removes the package and then what it leaves.
func (m *live) isRemoved(t *testing.T) {
	m.do(t, "dpkg", "--remove", "deploykeyd")
	m.site.noKeys(t, "after removal")
	m.agentLives(t)
	from := m.log.now()
	m.do(t, "systemctl", "restart", ciAgent)
	m.log.await(t, "the CI agent starts without us", from, 1, said(ciAgent, "agent: started"))

	m.do(t, "dpkg", "--purge", "deploykeyd")
	left := m.disk.files(t, func(name string) bool {
		return strings.Contains(name, "deploykeyd") && !strings.HasPrefix(name, "var/log/") && name != "root/deploykeyd.deb"
	})
	for _, name := range left {
		t.Errorf("purge leaves /%s", name)
	}
	for _, database := range []string{"passwd", "group"} {
		if entry, err := m.try(t, "getent", database, "deploykeyd"); err == nil {
			t.Errorf("purge leaves in %s: %s", database, entry)
		}
	}
	if said, err := m.try(t, "ls", "/run/deploykeyd"); err == nil {
		t.Errorf("purge leaves /run/deploykeyd: %s", said)
	}
}
