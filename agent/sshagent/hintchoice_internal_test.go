package sshagent

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"deploykeyd/provision"
)

// Whatever a client claims, it is shown keys that are lent, of the forges to
// whose host key it has bound its connection, and no two that one server may
// know unless each is for the repository that it names.
func TestAHintWidensNothing(t *testing.T) {
	known := forgesOfTest()
	var forges []*Forge
	for _, name := range []string{"gitea", "hub", "hub2", "other", "lab", "one"} {
		forges = append(forges, known[name])
	}
	lend := func(forge, repo, blob string) loan {
		return loan{forge: known[forge], repository: provision.Repository(repo), blob: []byte(blob)}
	}
	loans := []loan{
		lend("gitea", "acme/api", "g"), lend("gitea", "acme/web", "g"), lend("other", "acme/api", "o"),
		lend("hub", "acme/api", "h1"), lend("hub", "acme/web", "h2"), lend("hub2", "acme/web", "h3"),
		lend("lab", "a/b/c", "l"), lend("one", "x/y", "x"),
	}
	bounds := [][]*Forge{nil, {known["hub"]}, {known["hub"], known["hub2"]}, {known["gitea"], known["other"]}, {known["one"]}, {known["lab"]}}
	shownAtAll := 0
	for _, bound := range bounds {
		for _, host := range []string{"", "gitea.test", "github.test", "gitlab.test", "one.test", "evil.test", "[", "\x00"} {
			for _, port := range []int{0, 22, 2222, 65535} {
				for _, path := range []string{"", "acme/api", "ACME/WEB.git", "a/b/c", "a/b/c/d", "x/y", "x/z", "..", "acme/api\x00", "'"} {
					h := hint{host: host, port: port, path: path}
					shown, _ := choose(forges, bound, h, loans)
					checkShownLoans(t, bound, h, loans, shown)
					shownAtAll += len(shown)
				}
			}
		}
	}
	if shownAtAll == 0 {
		t.Error("nothing was shown at all")
	}
}

func checkShownLoans(t *testing.T, bound []*Forge, h hint, lent, shown []loan) {
	t.Helper()
	for i, l := range shown {
		if !slices.ContainsFunc(lent, func(o loan) bool { return o.forge == l.forge && bytes.Equal(o.blob, l.blob) }) {
			t.Errorf("%+v: shown %s of %s, which is not lent", h, l.blob, l.forge.Name)
		}
		if len(bound) > 0 && !slices.Contains(bound, l.forge) {
			t.Errorf("%+v: shown %s of %s, which is not bound", h, l.blob, l.forge.Name)
		}
		for _, o := range shown[:i] {
			repo, _ := provision.ParseClonePath(l.forge.Kind, h.path)
			if strings.EqualFold(o.forge.SSH.KnownHost(), l.forge.SSH.KnownHost()) &&
				(!provision.Same(l.repository, repo) || !provision.Same(o.repository, repo)) {
				t.Errorf("%+v: shown %s and %s, which one server may know", h, o.blob, l.blob)
			}
		}
	}
}
