package main_test

import (
	"encoding/xml"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/docs/pages"
	"deploykeyd/provision"
)

// The architecture page and its picture show every package of the house on its
// level, and no other.
func TestDocsArchitecture(t *testing.T) {
	want := map[string]string{}
	for name, r := range house() {
		want[name] = strconv.Itoa(r.level)
	}
	for _, c := range []struct{ file, pattern string }{
		{"architecture.md", "(?m)^\\| (\\d) \\| `([^`]+)` \\|"},
		{"architecture.svg", `<text class="package" data-level="(\d)"[^>]*>([^<]+)</text>`},
	} {
		got := map[string]string{}
		for _, m := range regexp.MustCompile(c.pattern).FindAllStringSubmatch(read(t, "../../docs/"+c.file), -1) {
			if _, twice := got[m[2]]; twice {
				t.Errorf("%s shows %s twice", c.file, m[2])
			}
			got[m[2]] = m[1]
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s is not the table of levels_test.go (-table +page):\n%s", c.file, diff)
		}
	}
	var picture struct{}
	if err := xml.Unmarshal([]byte(read(t, "../../docs/architecture.svg")), &picture); err != nil {
		t.Errorf("the picture: %v", err)
	}
}

// Each kind of forge that is built has a page, and all of these have the same
// sections in the same order.
func TestDocsForgePages(t *testing.T) {
	sections := []string{
		"in-the-configuration", "the-credential", "what-is-asked-of-the-api", "limits", "host-keys",
		"read-and-write", "when-the-credential-ends", "when-something-is-wrong", "not-verified",
	}
	wire := read(t, "cli/wire.go")
	index := read(t, "../../docs/forges/README.md")
	built := 0
	for _, k := range provision.Kinds() {
		adapter := strings.ReplaceAll(string(k), "-", "")
		if !strings.Contains(wire, `"deploykeyd/provision/`+adapter+`"`) {
			continue
		}
		built++
		name := "docs/forges/" + string(k) + ".md"
		text, err := os.ReadFile("../../" + name)
		if err != nil {
			t.Error(err)
			continue
		}
		p, err := pages.Parse(name, string(text))
		if err != nil {
			t.Error(err)
			continue
		}
		if diff := cmp.Diff(sections, p.Anchors[1:]); diff != "" {
			t.Errorf("%s does not have the sections of its kind (-want +got):\n%s", name, diff)
		}
		if !strings.Contains(index, "("+string(k)+".md)") {
			t.Errorf("docs/forges/README.md does not name %s", name)
		}
	}
	if built < 3 {
		t.Errorf("only %d kinds of forges in cli/wire.go", built)
	}
}
