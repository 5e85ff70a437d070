package main_test

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"deploykeyd/agent/config"
	"deploykeyd/docs/pages"
)

func docsPages(t *testing.T) []pages.Page {
	t.Helper()
	all, err := pages.Read(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) < 20 {
		t.Errorf("only %d pages", len(all))
	}
	return all
}

// Every block of the docs is of a form that a test runs or checks.
func TestDocsBlocks(t *testing.T) {
	for _, p := range docsPages(t) {
		for _, b := range p.Blocks {
			if why := checkBlock(b); why != nil {
				t.Errorf("%s: %v", b.Where(), why)
			}
		}
	}
}

// checkBlock checks one block, except for what it does where it is run.
func checkBlock(b pages.Block) error {
	if file := b.Value("file"); file != "" {
		return excerpt(filepath.Join("..", ".."), file, b.Text)
	}
	switch b.Language {
	case "console":
		return checkConsole(b)
	case "yaml":
		return checkConfig(b)
	case "json":
		if !json.Valid([]byte(b.Text)) {
			return fmt.Errorf("not JSON")
		}
		return nil
	case "ssh-config", "python":
		return nil // TestDocsForeignBlocks
	}
	return fmt.Errorf("a block of %q, which no test runs: write console for commands, or file=PATH for an excerpt", b.Language)
}

func checkConsole(b pages.Block) error {
	steps, err := b.Steps()
	if err != nil {
		return err
	}
	switch b.Place() {
	case placeRunning, placeFresh, placeSource, placeBoot:
		return nil
	case placeCI:
		return runByCI(steps)
	}
	return fmt.Errorf("nobody runs the place %q", b.Place())
}

// runByCI reports commands that are not a stage of .ci/run.
func runByCI(steps []pages.Step) error {
	script, err := os.ReadFile("../../.ci/run")
	if err != nil {
		return err
	}
	for _, s := range steps {
		command, _, _ := strings.Cut(s.Command, "#")
		stage := regexp.MustCompile(`(?m)^stage \S+ ` + regexp.QuoteMeta(strings.TrimSpace(command)) + `( |$)`)
		if s.Shown != "" || !stage.Match(script) {
			return fmt.Errorf("%s: .ci/run has no stage %q, or it shows an output that nobody compares", s.Where, command)
		}
	}
	return nil
}

// excerpt checks that a text stands in a file of the repository, where a line
// "…" is anything that is left out.
func excerpt(root, file, text string) error {
	if !filepath.IsLocal(file) {
		return fmt.Errorf("%s is not in the repository", file)
	}
	whole, err := os.ReadFile(filepath.Join(root, file))
	if err != nil {
		return err
	}
	if err := pages.Match("…\n"+text+"…\n", string(whole)); err != nil {
		return fmt.Errorf("not an excerpt of %s: %w", file, err)
	}
	return nil
}

// checkConfig parses a configuration. One that is marked as a part gets the keys
// that every configuration needs, where it has none.
func checkConfig(b pages.Block) error {
	if !b.Has("config") {
		return fmt.Errorf("YAML that is neither a configuration (config) nor an excerpt (file=)")
	}
	text := b.Text
	if b.Has("part") {
		for key, value := range map[string]string{
			"fleet": "fleet: docs", "users": "users: [jenkins]",
			"forges": "forges: [{name: f, kind: github, credential: {token: {systemd: f}}, repositories: [acme/api]}]",
		} {
			if !strings.HasPrefix(text, key+":") && !strings.Contains(text, "\n"+key+":") {
				text = value + "\n" + text
			}
		}
	}
	_, err := config.Parse(b.Where(), []byte(text))
	return err
}

// Blocks in the formats of other programs are read by these.
func TestDocsForeignBlocks(t *testing.T) {
	readers := map[string][]string{
		"python":     {"/usr/bin/python3", "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"},
		"ssh-config": {"ssh", "-G", "gitea.test", "-F"},
	}
	for _, p := range docsPages(t) {
		for _, b := range p.Blocks {
			reader, foreign := readers[b.Language]
			if !foreign {
				continue
			}
			file := filepath.Join(t.TempDir(), "block")
			write(t, file, b.Text)
			c := exec.CommandContext(t.Context(), reader[0], append(reader[1:], file)...)
			if said, err := c.CombinedOutput(); err != nil {
				t.Errorf("%s: %v\n%s", b.Where(), err, said)
			}
		}
	}
}

// Every link between pages leads to a file that is there, and to a heading that
// it has.
func TestDocsLinks(t *testing.T) {
	all := docsPages(t)
	linked := map[string]bool{"README.md": true}
	for _, p := range all {
		for _, l := range p.Links {
			target, why := follow(all, p, l)
			linked[target] = true
			if why != "" {
				t.Errorf("%s:%d: %s: %s", p.Path, l.Line, l.Target, why)
			}
		}
	}
	for _, p := range all {
		if !linked[p.Path] {
			t.Errorf("no page links to %s", p.Path)
		}
	}
}

// follow returns the file that a link of p leads to, and what is wrong with it.
func follow(all []pages.Page, p pages.Page, l pages.Link) (file, why string) {
	if strings.Contains(l.Target, "://") {
		return "", ""
	}
	name, anchor, _ := strings.Cut(l.Target, "#")
	file = p.Path
	if name != "" {
		file = path.Join(path.Dir(p.Path), name)
	}
	if _, err := os.Stat(filepath.Join("..", "..", file)); err != nil {
		return file, "there is no such file"
	}
	i := slices.IndexFunc(all, func(q pages.Page) bool { return q.Path == file })
	switch {
	case anchor == "":
	case i < 0:
		return file, "an anchor in a file that is no page"
	case !slices.Contains(all[i].Anchors, anchor):
		return file, fmt.Sprintf("no such heading; there are %s", strings.Join(all[i].Anchors, ", "))
	}
	return file, ""
}

// The README's table names every command.
func TestReadmeNamesEveryCommand(t *testing.T) {
	t.Parallel()
	status, help, _ := (&site{dir: t.TempDir()}).do(t, "--help")
	_, list, found := strings.Cut(help, "Available Commands:\n")
	if status != 0 || !found {
		t.Fatalf("exit status %d: %s", status, help)
	}
	list, _, _ = strings.Cut(list, "\n\n")
	page := read(t, "../../README.md")
	commands := regexp.MustCompile(`(?m)^  (\S+)`).FindAllStringSubmatch(list, -1)
	if len(commands) < 8 {
		t.Errorf("only %d commands in: %s", len(commands), list)
	}
	for _, c := range commands {
		if name := c[1]; name != "help" && !regexp.MustCompile("`"+name+"[` ]").MatchString(page) {
			t.Errorf("README.md does not name %s", name)
		}
	}
}

// Every form of block that would pass unseen is refused.
func TestDocsBlocksAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"a shell block":            "```sh\nmake test\n```\n",
		"no language":              "```\nmake test\n```\n",
		"an unknown place":         "```console moon\n$ true\n```\n",
		"no command":               "```console\ntrue\n```\n",
		"no stage":                 "```console ci\n$ make coffee\n```\n",
		"an output that none sees": "```console ci\n$ make demo\nfine\n```\n",
		"a bad configuration":      "```yaml config\nfleet: x\n```\n",
		"a bad part":               "```yaml config part\nshutdown: {timeout: soon}\n```\n",
		"YAML of nobody":           "```yaml\na: b\n```\n",
		"no JSON":                  "```json\n{\n```\n",
		"no such file":             "```ini file=systemd/nosuch.service\n[Unit]\n```\n",
		"no excerpt":               "```text file=LICENSE\nno such line\n```\n",
		"a file elsewhere":         "```text file=../passwd\nroot\n```\n",
	} {
		p, err := pages.Parse("p.md", text)
		if err != nil || len(p.Blocks) != 1 {
			t.Fatalf("%s: %v", name, err)
		}
		if checkBlock(p.Blocks[0]) == nil {
			t.Errorf("%s passes", name)
		}
	}
	for name, text := range map[string]string{
		"a comment above a block that is none": "<!-- before: true -->\n\ntext\n\n```console\n$ true\n```\n",
		"a block that does not end":            "```console\n$ true\n",
		"a comment that does not end":          "<!-- before: true\n",
	} {
		if _, err := pages.Parse("p.md", text); err == nil {
			t.Errorf("%s parses", name)
		}
	}
}
