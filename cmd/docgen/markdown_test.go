package main

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestConfigurationPageIsUpToDate compares the page in the tree with what the
// table of fields says now.
func TestConfigurationPageIsUpToDate(t *testing.T) {
	now, _ := docgen(t, 0, "reference")
	text, err := os.ReadFile("../../docs/configuration.md")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(text), now); diff != "" {
		t.Errorf("docs/configuration.md is not what the table of fields says. Make it anew:\n  %s\n(-is +should be):\n%s", refresh, diff)
	}
}

// TestLinksOfTheConfigurationPage holds that each heading can be linked to, and
// that each link leads to one.
func TestLinksOfTheConfigurationPage(t *testing.T) {
	text, _ := docgen(t, 0, "reference")
	there := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^#+ (.+)$`).FindAllStringSubmatch(withoutCode(text), -1) {
		if there[anchor(m[1])] {
			t.Errorf("two headings have the anchor of %q", m[1])
		}
		there[anchor(m[1])] = true
	}
	links := regexp.MustCompile(`\]\(#([^)]*)\)`).FindAllStringSubmatch(text, -1)
	if len(links) < 40 {
		t.Errorf("%d links", len(links))
	}
	for _, m := range links {
		if !there[m[1]] {
			t.Errorf("the link #%s leads nowhere", m[1])
		}
	}
}

func withoutCode(text string) string {
	return regexp.MustCompile("(?s)```.*?```").ReplaceAllString(text, "")
}

func TestTablesOfTheConfigurationPage(t *testing.T) {
	text, _ := docgen(t, 0, "reference")
	columns := 0
	for line := range strings.Lines(withoutCode(text)) {
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		n := len(regexp.MustCompile(`[^\\]\|`).FindAllString(line, -1))
		if columns > 0 && n != columns {
			t.Errorf("%d columns and not %d: %s", n, columns, line)
		}
		columns = n
	}
}

func TestEscapeProse(t *testing.T) {
	for text, want := range map[string]string{
		"a * b <c> [d] \\":    `a \* b \<c> \[d\] \\`,
		"`a * b` and *":       "`a * b` and \\*",
		"an open ` quote":     "an open \\` quote",
		"plain . _ - | words": "plain . _ - | words",
	} {
		if got := escapeProse(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
	if got := row([]string{"a|b", "c"}); got != `| a\|b | c |` {
		t.Errorf("row %s", got)
	}
}
