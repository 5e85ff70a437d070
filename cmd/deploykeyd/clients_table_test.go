package main_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write what the tests find out into docs")

const (
	clientsPage = "../../docs/clients.md"
	tableBegins = "<!-- TestClients writes this: go test ./cmd/deploykeyd -run '^TestClients$' -update -->\n"
	tableEnds   = "<!-- end -->\n"
)

// table returns the generated part of docs/clients.md.
func table(clients []client, versions []string, trials []*trial) string {
	var b strings.Builder
	b.WriteString("| client | versions tried | binds | one key (Gitea) | a key per repository (GitHub) | the same, own socket | `bind: require` (Gitea) | checks the host key against | to set |\n")
	b.WriteString("|---|---|---|---|---|---|---|---|---|\n")
	var reasons []string
	for i, c := range clients {
		cells := map[string]string{}
		binds := "–"
		for _, r := range trials {
			if r.row != i {
				continue
			}
			cells[r.place.name] = r.word()
			if r.clone.status == 0 {
				binds = yesNo(strings.Contains(r.lines[0], " bound=true "))
			}
			if w := r.place.expect(c).reason; w != "" && !slices.Contains(reasons, w) {
				reasons = append(reasons, w)
			}
		}
		each := cells[atEach]
		if cells[atArgument] == "read" {
			each += ", unless the clone URL is an argument"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s | %s | %s |\n",
			c.name, versions[i], binds, cells[atShared], each, cells[atOwn], cells[atRequire], c.checks, c.set)
	}
	b.WriteString("\nThe reasons in the daemon's log for what is refused:\n\n")
	for _, reason := range reasons {
		fmt.Fprintf(&b, "- `%s`\n", reason)
	}
	return b.String()
}

// word says what came of a trial.
func (r *trial) word() string {
	switch {
	case r.tagged:
		return "read, write"
	case r.clone.status == 0:
		return "read"
	case slices.ContainsFunc(r.lines, func(l string) bool { return strings.Contains(l, " decision=refused ") }):
		return "refused"
	}
	return "no"
}

func yesNo(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

// checkTable holds the table against the one in docs/clients.md, or writes it
// there. Versions may differ: another system has others.
func checkTable(t *testing.T, made string) {
	t.Helper()
	page := read(t, clientsPage)
	before, rest, begun := strings.Cut(page, tableBegins)
	was, after, ended := strings.Cut(rest, tableEnds)
	if !begun || !ended {
		t.Fatalf("%s has no part between %q and %q", clientsPage, tableBegins, tableEnds)
	}
	if *update {
		write(t, clientsPage, before+tableBegins+made+tableEnds+after)
		return
	}
	if diff := cmp.Diff(withoutVersions(made), withoutVersions(was)); diff != "" {
		t.Errorf("%s is not what the clients did; run this test with -update (-did +written):\n%s", clientsPage, diff)
	}
}

// withoutVersions drops the table's second column.
func withoutVersions(text string) string {
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if cells := strings.Split(line, "|"); len(cells) > 3 {
			lines[i] = strings.Join(slices.Delete(cells, 2, 3), "|")
		}
	}
	return strings.Join(lines, "\n")
}
