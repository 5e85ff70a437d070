package pages_test

import (
	"os"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/docs/pages"
)

const example = "# A `title`: here\n" +
	"[one](other.md#top) and `[no](link)`, [two](https://example.com/x \"title\")\n\n" +
	"<!-- before: one\n  two -->\n\n" +
	"```console boot\n# first \\\n  more\nsaid\n\n$ second\n```\n\n" +
	"1. in a list\n\n   ```yaml config file=a/b\n   a:\n     b: c\n   ```\n\n" +
	"## Twice\n## Twice\n"

func TestParse(t *testing.T) {
	got, err := pages.Parse("p.md", example)
	if err != nil {
		t.Fatal(err)
	}
	want := pages.Page{
		Path: "p.md", Text: example,
		Anchors: []string{"a-title-here", "twice", "twice-1"},
		Links:   []pages.Link{{Line: 2, Target: "other.md#top"}, {Line: 2, Target: "https://example.com/x"}},
		Blocks: []pages.Block{
			{
				Page: "p.md", Line: 7, Language: "console", Words: []string{"boot"}, Before: "one\n  two",
				Text: "# first \\\n  more\nsaid\n\n$ second\n",
			},
			{Page: "p.md", Line: 17, Language: "yaml", Words: []string{"config", "file=a/b"}, Text: "a:\n  b: c\n"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
	if b := got.Blocks[1]; !b.Has("config") || b.Has("a/b") || b.Value("file") != "a/b" || b.Value("config") != "" {
		t.Error("the words of a block are not found")
	}
	if len(got.Consoles("boot")) != 1 || len(got.Consoles("")) != 0 {
		t.Error("the console blocks of a place are not found")
	}
}

func TestSteps(t *testing.T) {
	p, err := pages.Parse("p.md", example)
	if err != nil {
		t.Fatal(err)
	}
	got, err := p.Blocks[0].Steps()
	if err != nil {
		t.Fatal(err)
	}
	want := []pages.Step{
		{Where: "p.md:8", Root: true, Command: "first \\\n  more", Shown: "said\n\n"},
		{Where: "p.md:12", Command: "second"},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
	for _, text := range []string{"", "said\n$ command\n"} {
		if _, err := (pages.Block{Text: text}).Steps(); err == nil {
			t.Errorf("%q has steps", text)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	for _, text := range []string{
		"```console\n$ true\n",
		"<!-- before: true\n",
		"<!-- before: true -->\ntext\n```console\n$ true\n```\n",
		strings.Repeat("\n", 100_001),
	} {
		if _, err := pages.Parse("p.md", text); err == nil {
			t.Errorf("%.40q parses", text)
		}
	}
}

func TestRead(t *testing.T) {
	tree := fstest.MapFS{
		"README.md": {}, "docs/a.md": {}, "docs/b/c.md": {}, "docs/picture.svg": {Data: []byte("```")}, "other/d.md": {},
	}
	all, err := pages.Read(tree)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, p := range all {
		names = append(names, p.Path)
	}
	if diff := cmp.Diff([]string{"README.md", "docs/a.md", "docs/b/c.md"}, names); diff != "" {
		t.Error(diff)
	}
	tree["docs/a.md"].Data = []byte("```\n")
	if _, err := pages.Read(tree); err == nil || !strings.Contains(err.Error(), "docs/a.md:1") {
		t.Errorf("a page that does not parse: %v", err)
	}
	if _, err := pages.Read(os.DirFS(t.TempDir())); err == nil {
		t.Error("nothing was read, without an error")
	}
}

func TestMatch(t *testing.T) {
	key, other := strings.Repeat("A", 43), strings.Repeat("b", 43)
	for _, c := range []struct {
		shown, got string
		same       bool
	}{
		{"", "", true},
		{"a\n", "a", true},
		{"a\n", "b\n", false},
		{"a\n", "a\nb\n", false},
		{"a\nb\n", "a\n", false},
		{"at 2026-11-23 14:39:59\n", "at 2031-01-02 03:04:05\n", true},
		{"a 1 b\n", "a 2 b\n", false},
		{"SHA256:" + key, "SHA256:" + other, true},
		{"SHA256:" + key, "MD5:" + other, false},
		{"A  B\n\nC", "A B\nC\n", true},
		{"deploykeyd:f:m:0123456789abcdef:20261124T143959Z", "deploykeyd:f:m:fedcba9876543210:20270101T000000Z", true},
		{"deploykeyd:f:m:0123456789abcdef:20261124T143959Z", "deploykeyd:f:n:fedcba9876543210:20270101T000000Z", false},
		{"holds (0.71 s)", "holds (12 s)", true},
		{"ssh://git@gitea.test:38901/a", "ssh://git@gitea.test:41/a", false},
		{"ssh://git@gitea.test:38901/a", "ssh://git@gitea.test:4101/a", true},
		{"…\nlast", "a\nb\nlast", true},
		{"…\nlast", "last", true},
		{"…\nlast", "last\nmore", false},
		{"first\n…", "first", true},
		{"first\n…", "a\nfirst", false},
		{"a\n…\nb\n…\nc", "a\nx\nb\ny\nz\nb\nc", true},
		{"why: …403…", "why: it said 403 to me", true},
		{"why: …403…", "why: it said 404 to me", false},
		{"ab…ba", "aba", false},
		{"one … three", "one two three", true},
		{"8 of 8", "7 of 8", false},
	} {
		if err := pages.Match(c.shown, c.got); (err == nil) != c.same {
			t.Errorf("%q and %q: %v, want same: %v", c.shown, c.got, err, c.same)
		}
	}
}
