package sshagent

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/provision"
)

// The forges of these tests. Two entries are on one host with one port, and a
// third is on the same host with another.
func forgesOfTest() map[string]*Forge {
	at := func(host string, port int) provision.SSHAddress {
		return provision.SSHAddress{User: "git", Host: host, Port: port}
	}
	all := map[string]*Forge{}
	for _, f := range []*Forge{
		{Name: "gitea", Kind: provision.Gitea, SSH: at("gitea.test", 2222)},
		{Name: "hub", Kind: provision.GitHub, SSH: at("github.test", 22)},
		{Name: "hub2", Kind: provision.GitHub, SSH: at("GitHub.test", 22)},
		{Name: "other", Kind: provision.Gitea, SSH: at("gitea.test", 22)},
		{Name: "lab", Kind: provision.GitLab, SSH: at("gitlab.test", 22)},
		{Name: "one", Kind: provision.GitHub, SSH: at("one.test", 22)},
	} {
		all[f.Name] = f
	}
	return all
}

// chooseCase lends keys, written "forge repository key", newest first.
type chooseCase struct {
	forges, bound string
	hint          hint
	loans         []string
	want          string // keys, or
	refused       string // the reason
}

func chooseCases() map[string]chooseCase {
	std := []string{"gitea acme/api g", "gitea acme/web g", "hub acme/api h1", "hub acme/web h2", "lab a/b/c l", "one x/y o"}
	const all = "gitea hub lab one"
	return map[string]chooseCase{
		"host and repository":           {all, "", hint{"github.test", 0, "acme/web.git"}, std, "h2", ""},
		"bound and repository":          {all, "hub", hint{"", 0, "acme/api"}, std, "h1", ""},
		"letter case":                   {all, "", hint{"GITHUB.test", 0, "Acme/WEB.git/"}, std, "h2", ""},
		"bind wins over the host":       {all, "hub", hint{"gitea.test", 0, "acme/web"}, std, "h2", ""},
		"bind wins over an alias":       {all, "hub", hint{"work", 0, "acme/web"}, std, "h2", ""},
		"nested groups":                 {all, "lab", hint{"", 0, "a/b/c.git"}, std, "l", ""},
		"repository alone":              {all, "", hint{"", 0, "acme/web.git"}, std, "g h2", ""},
		"shared key, no repository":     {all, "gitea", hint{}, std, "g", ""},
		"shared key, other repository":  {all, "gitea", hint{"", 0, "acme/new"}, std, "g", ""},
		"shared key, strange path":      {all, "gitea", hint{"", 0, "a/b/c/d"}, std, "g", ""},
		"own keys, no repository":       {all, "hub", hint{}, std, "", "hub has 2 keys"},
		"own keys, other repository":    {all, "hub", hint{"", 0, "acme/new"}, std, "", "no key for \"acme/new\""},
		"own key, only one":             {all, "one", hint{}, std, "o", ""},
		"own key, only one, other path": {all, "one", hint{"", 0, "x/z"}, std, "", "no key for \"x/z\""},
		"nothing known":                 {all, "", hint{}, std, "g l o", "forge hub has 2 keys and the client does not say"},
		"unknown host":                  {all, "", hint{"evil.test", 0, "acme/web"}, std, "", "\"evil.test\" is the SSH host of no"},
		"nothing lent":                  {all, "gitea", hint{"", 0, "acme/web"}, nil, "", "no key of forge gitea"},
		"no forge":                      {"", "", hint{"a", 0, ""}, nil, "", "no configured forge"},
		"no forge, no hint":             {"", "", hint{}, nil, "", "no forge is configured"},

		"newest for the repository":   {all, "hub", hint{"", 0, "acme/web"}, []string{"hub acme/web new", "hub acme/web old"}, "new", ""},
		"rotation, no repository":     {all, "gitea", hint{}, []string{"gitea a/a new", "gitea a/a old", "gitea a/b old"}, "old", ""},
		"rotation, halfway":           {all, "gitea", hint{}, []string{"gitea a/b new", "gitea a/a new", "gitea a/a old", "gitea a/b old"}, "new", ""},
		"rotation, repository at old": {all, "gitea", hint{"", 0, "a/b"}, []string{"gitea a/a new", "gitea a/a old", "gitea a/b old"}, "old", ""},

		"one host, by repository":    {"hub hub2", "hub hub2", hint{"", 0, "b/b"}, []string{"hub a/a h1", "hub2 b/b h2"}, "h2", ""},
		"one host, by both":          {"hub hub2", "", hint{"github.test", 0, "a/a"}, []string{"hub a/a h1", "hub2 a/a h2"}, "h1 h2", ""},
		"one host, no repository":    {"hub hub2", "hub hub2", hint{}, []string{"hub a/a h1", "hub2 b/b h2"}, "", "several forges"},
		"one host, one lends":        {"hub hub2", "hub hub2", hint{}, []string{"hub2 b/b h2"}, "h2", "no key of forge hub is lent"},
		"one host, port tells":       {"gitea other", "", hint{"gitea.test", 22, ""}, []string{"gitea a/a g", "other a/a o"}, "o", ""},
		"one host, port tells, path": {"gitea other", "gitea other", hint{"gitea.test", 2222, "a/a"}, []string{"gitea a/a g", "other a/a o"}, "g", ""},
		"one host, no port":          {"gitea other", "", hint{"gitea.test", 0, "a/a"}, []string{"gitea a/a g", "other a/a o"}, "g o", ""},
		"one host, unknown port":     {"gitea other", "", hint{"gitea.test", 99, "a/a"}, []string{"gitea a/a g", "other a/a o"}, "g o", ""},
	}
}

func TestChoose(t *testing.T) {
	known := forgesOfTest()
	named := func(names string) []*Forge {
		var all []*Forge
		for name := range strings.FieldsSeq(names) {
			all = append(all, known[name])
		}
		return all
	}
	for name, c := range chooseCases() {
		var loans []loan
		for _, s := range c.loans {
			f := strings.Fields(s)
			loans = append(loans, loan{forge: known[f[0]], repository: provision.Repository(f[1]), blob: []byte(f[2])})
		}
		shown, err := choose(named(c.forges), named(c.bound), c.hint, loans)
		var got []string
		for _, l := range shown {
			got = append(got, string(l.blob))
		}
		if diff := cmp.Diff(c.want, strings.Join(got, " ")); diff != "" {
			t.Errorf("%s: %v (-want +got):\n%s", name, err, diff)
		}
		if (err != nil) != (c.refused != "") || // beside keys it says why others are left out
			err != nil && !strings.Contains(err.Error(), c.refused) {
			t.Errorf("%s: refused with %v, want %q", name, err, c.refused)
		}
	}
}

// Whoever cannot be told apart is told where to go instead.
func TestTheNextStepIsTheRepositorysOwnSocket(t *testing.T) {
	known := forgesOfTest()
	loans := []loan{
		{forge: known["hub"], repository: "a/a", blob: []byte("h1")},
		{forge: known["hub"], repository: "a/b", blob: []byte("h2")},
		{forge: known["hub2"], repository: "b/b", blob: []byte("h3")},
	}
	for _, c := range []struct{ sockets, want string }{
		{"", "set sockets: repository for forge hub"},
		{"/run/deploykeyd/r", "the repository's own socket in /run/deploykeyd/r: deploykeyd status --sockets"},
	} {
		known["hub"].Sockets = c.sockets
		for _, bound := range [][]*Forge{{known["hub"]}, {known["hub2"], known["hub"]}} {
			_, err := choose(nil, bound, hint{}, loans)
			r, ok := errors.AsType[*refusal](err)
			if !ok || !strings.Contains(r.next, c.want) {
				t.Errorf("%d forges: refused with %+v, want the next step %q", len(bound), err, c.want)
			}
			if want := map[int]string{1: "hub"}[len(bound)]; r.forge != want {
				t.Errorf("%d forges: laid to forge %q, want %q", len(bound), r.forge, want)
			}
		}
	}
	_, err := choose(nil, []*Forge{known["hub"]}, hint{path: "A/C.git"}, loans)
	if r, ok := errors.AsType[*refusal](err); !ok || r.forge != "hub" || r.repository != "A/C" {
		t.Errorf("refused with %+v, want it laid to A/C on hub", err)
	}
}
