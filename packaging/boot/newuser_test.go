//go:build boot

package boot_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"deploykeyd/provision"
)

// newUserSteps are what a new user does on a machine in service, as root, from
// the package to the first clone: one file is edited. The edit is the one that
// the comments of "config example" ask for.
func newUserSteps(s *site, pkg string) [][]string {
	forge := s.sim.Forge(provision.Gitea)
	edit := []string{
		`s|https://git.example.com|` + secureURL(forge) + `|`,
		`s|ssh://git@git.example.com:2222|` + forge.SSH().String() + `|`,
		`s|ssh-ed25519 AAAA.*|` + forge.HostKeys()[0] + `|`,
		`s|{file: /etc/deploykeyd/forge.token}|{systemd: forge}|`,
		`/^  # GitHub: /,/^key:/{/^key:/!d}`, // the entries of forges that he does not have
	}
	const config = "/etc/deploykeyd/deploykeyd.yaml"
	return [][]string{
		{"dpkg", "-i", pkg},
		{"install", "-m", "600", "/root/token", "/etc/deploykeyd/credentials/forge"},
		{"sh", "-euc", fmt.Sprintf("deploykeyd config example >%s; sed -i -e '%s' %[1]s", config, strings.Join(edit, "' -e '"))},
		{"deploykeyd", "up"},
		{"runuser", "-u", "jenkins", "--", "git", "clone", "-q", s.url(provision.Gitea, "acme/api"), "/home/jenkins/api"},
	}
}

func TestStepsOfANewUser(t *testing.T) {
	s := newSite(t)
	d := newDisk(t, s)
	d.write(t, "home/jenkins/builds", 0o644, "")
	d.seed(t, "i-new", "#cloud-config\n")
	_, token := s.sim.Forge(provision.Gitea).Credential()
	d.write(t, "root/token", 0o600, token+"\n")
	pkg := deb(t, firstVersion)
	d.write(t, "root/deploykeyd.deb", 0o644, read(t, pkg))
	m := d.boot(t, s)
	m.log.await(t, "the end of cloud-init", 0, 1, about(cloudFinal, "Finished"))
	steps := newUserSteps(s, "/root/deploykeyd.deb")
	for i, step := range steps {
		t.Logf("step %d: %s\n%s", i+1, strings.Join(step, " "), m.do(t, step...))
	}
	if _, err := os.Stat(filepath.Join(d.root, "home/jenkins/api/README.md")); err != nil {
		t.Error(err)
	}
	t.Logf("%d steps from the package to the first clone, %d of them before all is ready", len(steps), len(steps)-1)
	m.powerOff(t)
	s.noKeys(t, "after poweroff")
}

// Installing writes nothing but the package's own files, starts and enables
// nothing, and a purge takes all of it away again: an image may hold it.
func TestInstallingIntoAnImage(t *testing.T) {
	s := newSite(t)
	d := newDisk(t, s)
	everything := func(name string) bool {
		for _, changing := range []string{"var/lib/dpkg", "var/log", "var/cache"} {
			if strings.HasPrefix(name, changing) {
				return false
			}
		}
		return true
	}
	before := map[string]bool{}
	for _, name := range d.files(t, everything) {
		before[name] = true
	}
	d.install(t, deb(t, firstVersion))
	owned := "\n" + d.do(t, "dpkg", "-L", "deploykeyd")
	for _, name := range d.files(t, everything) {
		// What systemd-sysusers writes: the accounts, and copies of them.
		account := strings.HasPrefix(name, "etc/") && strings.HasSuffix(name, "-") && !strings.Contains(name[len("etc/"):], "/")
		if !before[name] && !strings.Contains(owned, "\n/"+name+"\n") && !account {
			t.Errorf("installing wrote /%s", name)
		}
	}
	d.do(t, "dpkg", "--purge", "deploykeyd")
	for _, name := range d.files(t, everything) {
		if account := strings.HasSuffix(name, "-"); !before[name] && !account {
			t.Errorf("purge leaves /%s", name)
		}
	}
	if s.requests() != 0 {
		t.Error("a forge was spoken to")
	}
}
