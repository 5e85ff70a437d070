//go:build boot

package boot_test

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"deploykeyd/provision"
)

// The generic example of user-data makes a build machine of an image that has
// neither the package nor a configuration.
func TestGenericUserData(t *testing.T) {
	s := newSite(t)
	d := newDisk(t, s)
	d.do(t, "systemctl", "disable", ciAgent)
	d.write(t, "etc/systemd/system-preset/20-agent.preset", 0o644, "disable "+ciAgent+"\n")
	d.write(t, "home/jenkins/builds", 0o644, "loop "+s.url(provision.Gitea, "acme/api")+"\n")
	_, token := s.sim.Forge(provision.Gitea).Credential()
	d.write(t, "etc/deploykeyd/credentials/forge", 0o600, token+"\n")
	d.offer(t, deb(t, firstVersion))
	d.seed(t, "i-generic", genericUserData(t, s))

	m := d.boot(t, s)
	m.built(t, 0, 1)
	m.log.await(t, "the end of cloud-init", 0, 1, about(cloudFinal, "Finished"))
	var result struct {
		V1 struct{ Errors []string }
	}
	if err := json.Unmarshal([]byte(m.do(t, "cat", "/run/cloud-init/result.json")), &result); err != nil || len(result.V1.Errors) > 0 {
		t.Errorf("cloud-init's errors: %q, %v", result.V1.Errors, err)
	}
	if status := m.ready(t); status.Machine != "i-generic" || status.Fleet != "ci-prod" || len(status.Repositories) != len(s.keys()) {
		t.Errorf("machine %s, fleet %s, %d repositories, %d keys", status.Machine, status.Fleet, len(status.Repositories), len(s.keys()))
	}
	m.do(t, "nft", "list", "table", "inet", "deploykeyd_metadata")
	for _, unit := range []string{ours, ciAgent, "deploykeyd-metadata.service"} {
		m.do(t, "systemctl", "is-enabled", "--quiet", unit)
	}
	m.powerOff(t)
	s.noKeys(t, "after poweroff")
}

// genericUserData returns the example with the addresses of this site in the
// place of those that a user is to put in.
func genericUserData(t *testing.T, s *site) string {
	t.Helper()
	text := read(t, "../cloud-init/generic.yaml")
	forge := s.sim.Forge(provision.Gitea)
	repository, key := between(t, text, "\napt:\n", "\npackage_update:"), between(t, text, "ssh-ed25519 ", "\n")
	for _, r := range [][2]string{
		{repository, "  preserve_sources_list: true\n  sources: {acme.list: {source: \"deb [trusted=yes] file:" + repositoryDir + " ./\"}}\n"},
		{"https://git.acme.example", secureURL(forge)},
		{"ssh://git@git.acme.example:2222", forge.SSH().String()},
		{"ssh-ed25519 " + key, forge.HostKeys()[0]},
	} {
		if !strings.Contains(text, r[0]) {
			t.Fatalf("the example does not have %q", r[0])
		}
		text = strings.ReplaceAll(text, r[0], r[1])
	}
	return text
}

// between returns what a text has between two marks.
func between(t *testing.T, text, from, to string) string {
	t.Helper()
	_, rest, found := strings.Cut(text, from)
	part, _, ends := strings.Cut(rest, to)
	if !found || !ends {
		t.Fatalf("the example has nothing between %q and %q", from, to)
	}
	return part
}

const repositoryDir = "/srv/packages"

// offer puts a package into a repository on the disk, and leaves apt no other.
func (d *disk) offer(t *testing.T, deb string) {
	t.Helper()
	text, name := read(t, deb), filepath.Base(deb)
	d.write(t, filepath.Join(repositoryDir, name), 0o644, text)
	control := must(t, "dpkg-deb", "--field", deb)
	d.write(t, filepath.Join(repositoryDir, "Packages"), 0o644,
		fmt.Sprintf("%sFilename: ./%s\nSize: %d\nSHA256: %x\n", control, name, len(text), sha256.Sum256([]byte(text))))
	d.write(t, "etc/apt/sources.list", 0o644, "")
}
