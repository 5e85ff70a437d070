//go:build boot

package boot_test

import (
	"context"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// machineAddress is the machine's, at the other end of the cable.
const machineAddress = "192.0.2.10"

// site is the world outside a machine: forges, and the cable that leads to them.
// It outlives the machine's power.
type site struct {
	sim       *forgesim.Sim
	authority authority // whom the machines trust
	servers   []*http.Server
}

// newSite starts the forges, each at an address of its own. Nothing else of the
// network namespace is in use.
func newSite(t *testing.T) *site {
	t.Helper()
	options := forgesim.Options{Names: true, Listen: map[provision.Kind]forgesim.Listen{}}
	must(t, "ip", "link", "set", "lo", "up")
	for _, k := range []provision.Kind{provision.Gitea, provision.GitHub, provision.BitbucketCloud} {
		options.Kinds = append(options.Kinds, k)
		options.Listen[k] = forgesim.Listen{SSH: address(k) + ":2222"}
		must(t, "ip", "address", "replace", address(k)+"/32", "dev", "lo")
	}
	sim, err := forgesim.Start(t.Context(), options)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := sim.Close(); err != nil {
			t.Error(err)
		}
	})
	for _, f := range sim.Forges() {
		for _, repo := range []string{"acme/api", "acme/web", "acme/releases"} {
			if err := f.AddRepository(repo, forgesim.RepositoryOptions{}); err != nil {
				t.Fatal(err)
			}
		}
	}
	s := &site{sim: sim, authority: newAuthority(t)}
	t.Cleanup(s.closeAPI)
	s.openAPI(t)
	return s
}

func address(k provision.Kind) string {
	return map[provision.Kind]string{
		provision.Gitea: "192.0.2.1", provision.GitHub: "192.0.2.2", provision.BitbucketCloud: "192.0.2.3",
	}[k]
}

// plug lays a new cable to a machine: the old one went with the old machine's
// network namespace. The end for the machine is eth0.
func (s *site) plug(t *testing.T) {
	t.Helper()
	for _, args := range [][]string{
		{"link", "add", "forges0", "type", "veth", "peer", "name", "eth0"},
		{"address", "add", "192.0.2.254/24", "dev", "forges0"},
		{"link", "set", "forges0", "up"},
	} {
		must(t, "ip", args...)
	}
}

// unplug removes the cable.
func (s *site) unplug(ctx context.Context) {
	_ = exec.CommandContext(ctx, "ip", "link", "del", "forges0").Run() // it may have gone already
}

// silence makes the forges unreachable in the way that takes longest to notice:
// what the machine sends is swallowed. It lasts until end is called.
func (*site) silence(t *testing.T) (end func()) {
	t.Helper()
	must(t, "ip", "route", "add", "blackhole", machineAddress+"/32")
	return func() {
		t.Helper()
		must(t, "ip", "route", "del", "blackhole", machineAddress+"/32")
	}
}

// refuse makes the forges refuse connections to their API, until end is called.
func (s *site) refuse(t *testing.T) (end func()) {
	t.Helper()
	s.closeAPI()
	return func() {
		t.Helper()
		s.openAPI(t)
	}
}

// hosts returns the lines of /etc/hosts that a machine needs.
func (s *site) hosts() string {
	var b strings.Builder
	for _, f := range s.sim.Forges() {
		fmt.Fprintf(&b, "%s %s\n", address(f.Kind()), f.HostName())
	}
	return b.String()
}

// configure writes the configuration and the credentials for all forges onto a
// disk that has the package.
func (s *site) configure(t *testing.T, d *disk) {
	t.Helper()
	var b strings.Builder
	b.WriteString("fleet: boot\nusers: [jenkins]\nforges:\n")
	for _, f := range s.sim.Forges() {
		username, token := f.Credential()
		d.write(t, "etc/deploykeyd/credentials/"+string(f.Kind()), 0o600, token+"\n")
		fmt.Fprintf(&b, "  - name: %[1]s\n    kind: %[1]s\n    url: %s\n    ssh: %s\n    host_keys: ['%s']\n    credential:\n",
			f.Kind(), secureURL(f), f.SSH(), f.HostKeys()[0])
		if username != "" {
			fmt.Fprintf(&b, "      username: %s\n", username)
		}
		fmt.Fprintf(&b, "      token: {systemd: %s}\n    repositories:\n      - acme/api\n      - acme/web\n", f.Kind())
		if provision.TraitsOf(f.Kind()).WriteAccess {
			b.WriteString("      - {repository: acme/releases, access: write}\n")
		}
	}
	d.write(t, "etc/deploykeyd/deploykeyd.yaml", 0o644, b.String())
}

// configured is how many registrations the configuration asks for.
const configured = 3 + 3 + 2

// url returns what a build clones.
func (s *site) url(k provision.Kind, repo provision.Repository) string {
	return s.sim.Forge(k).SSH().CloneURL(repo)
}

// keys returns the ids of the keys on all forges, with where they are.
func (s *site) keys() map[string]forgesim.Key {
	all := map[string]forgesim.Key{}
	for _, f := range s.sim.Forges() {
		for _, k := range f.AllKeys() {
			all[fmt.Sprintf("%s %s %s", f.Kind(), k.Repository, k.ID)] = k
		}
	}
	return all
}

// registrations counts the requests so far that asked for a new key.
func (s *site) registrations() int {
	n := 0
	for _, f := range s.sim.Forges() {
		for _, r := range f.Requests() {
			if r.Op == forgesim.OpRegister {
				n++
			}
		}
	}
	return n
}

// requests counts the API requests so far.
func (s *site) requests() int {
	n := 0
	for _, f := range s.sim.Forges() {
		n += len(f.Requests())
	}
	return n
}

// noKeys fails the test when a key is on any forge.
func (s *site) noKeys(t *testing.T, when string) {
	t.Helper()
	for where, k := range s.keys() {
		t.Errorf("%s: a key is on %s: %s", when, where, k.Title)
	}
}

// sameKeys fails the test when other keys than before are on the forges, or a
// new registration was asked for.
func (s *site) sameKeys(t *testing.T, when string, before map[string]forgesim.Key, registrations int) {
	t.Helper()
	now := s.keys()
	for where := range before {
		if _, there := now[where]; !there {
			t.Errorf("%s: the key is no longer on %s", when, where)
		}
	}
	for where, k := range now {
		if _, there := before[where]; !there {
			t.Errorf("%s: another key is on %s: %s", when, where, k.Title)
		}
	}
	if n := s.registrations(); n != registrations {
		t.Errorf("%s: %d new registrations were asked for", when, n-registrations)
	}
}

// otherKeys fails the test unless all configured keys are on the forges and
// none of them was there before.
func (s *site) otherKeys(t *testing.T, when string, before map[string]forgesim.Key) map[string]forgesim.Key {
	t.Helper()
	now := s.keys()
	if len(now) != configured {
		t.Errorf("%s: %d keys are on the forges, want %d", when, len(now), configured)
	}
	old := map[provision.PublicKey]bool{}
	for _, k := range before {
		old[k.Key] = true
	}
	for where, k := range now {
		if old[k.Key] {
			t.Errorf("%s: the old key is still on %s", when, where)
		}
	}
	return now
}
