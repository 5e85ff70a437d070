package main_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

const module = "deploykeyd/"

// row is one package of the house: its level, and which other packages of ours
// it may import. Every package has a row; an import that no row allows is an
// error, and so is a package without a row.
type row struct {
	level int
	may   []string
}

// house is the table of the levels. A row names packages of lower levels only.
func house() map[string]row {
	adapter := []string{"provision", "provision/credential", "provision/internal/rest"}
	h := map[string]row{
		"provision":                {0, nil},
		"provision/credential":     {0, nil},
		"agent/key":                {0, nil},
		"agent/key/keyscan":        {1, nil},
		"agent/custody":            {0, nil},
		"agent/machine":            {0, nil},
		"agent/unixsock":           {0, nil},
		"agent/service":            {0, nil},
		"agent/preemption":         {0, nil},
		"systemd":                  {0, nil},
		"docs/pages":               {0, nil},
		"provision/hostkey":        {1, []string{"provision"}},
		"provision/internal/rest":  {1, []string{"provision", "provision/credential"}},
		"provision/forgesim":       {1, []string{"provision"}},
		"agent/config":             {1, []string{"provision"}},
		"agent":                    {2, []string{"provision", "agent/key"}},
		"agent/sshagent":           {2, []string{"provision", "provision/hostkey", "agent/key", "agent/unixsock"}},
		"provision/sshconfig":      {2, []string{"provision", "provision/hostkey"}},
		"provision/bitbucketcloud": {2, adapter},
		"provision/github":         {2, adapter},
		"provision/gitea":          {2, adapter},
		"agent/journal":            {3, []string{"agent"}},
		"agent/control":            {3, []string{"agent", "agent/unixsock"}},
		"provision/verify":         {3, []string{"provision", "provision/sshconfig"}},
		"provision/conform":        {3, []string{"provision", "provision/forgesim"}},
	}
	var all []string
	for name := range h {
		if !slices.Contains(testsMay(), name) {
			all = append(all, name)
		}
	}
	h["cmd/deploykeyd/cli"] = row{4, all}
	h["cmd/deploykeyd"] = row{5, []string{"cmd/deploykeyd/cli"}}
	h["cmd/docgen"] = row{5, []string{"cmd/deploykeyd/cli", "agent/config"}}
	h["packaging/boot"] = row{5, nil} // tests alone
	h["cmd/forgesim"] = row{5, []string{"provision", "provision/forgesim"}}
	h["cmd/demo"] = row{5, []string{"agent", "agent/key/keyscan", "provision", "provision/forgesim"}}
	return h
}

// testsMay are the packages that any _test.go file may import, beside those of
// lower levels; the program itself never does.
func testsMay() []string {
	return []string{"provision/forgesim", "provision/conform", "agent/key/keyscan", "docs/pages"}
}

// cones names, for an import that is dangerous or heavy, the only packages that
// may have it. "*" stands for every package; a name that ends in a slash, in
// the key, for every package of that module. _test.go files are free to use the
// standard library; of other modules they may use these and testModules.
func cones() map[string][]string {
	return map[string][]string{
		"os/exec": {"provision/credential", "provision/verify", "provision/forgesim", "agent/unixsock", "agent/service", "cmd/demo"},
		"net/http": {
			"provision/internal/rest", "provision/forgesim", "provision/conform", "agent/control", "agent/preemption", "cmd/deploykeyd/cli", "cmd/demo",
			// requests and status codes; the client is rest's
			"provision/bitbucketcloud", "provision/github", "provision/gitea", "provision/credential",
		},
		"go.etcd.io/bbolt/":                      {"agent/journal"},
		"github.com/kardianos/service/":          {"agent/service"},
		"github.com/spf13/":                      {"cmd/deploykeyd/cli", "cmd/forgesim"},
		"github.com/hashicorp/go-retryablehttp/": {"provision/internal/rest"},
		"go.yaml.in/yaml/":                       {"agent/config"},
		"golang.org/x/crypto/":                   {"*"},
		"golang.org/x/sys/":                      {"*"},
	}
}

// testModules are the modules that _test.go files may import.
func testModules() []string {
	return []string{"github.com/google/go-cmp/", "github.com/rogpeppe/go-internal/"}
}

// httpClients are the packages that may make HTTP requests: rest to forges,
// control to our own socket, preemption to the cloud's metadata address, the
// demo to its stand-in for forges.
func httpClients() []string {
	return []string{"provision/internal/rest", "provision/forgesim", "agent/control", "agent/preemption", "cmd/demo"}
}

// httpClientNames are what a package needs of net/http to make a request.
func httpClientNames() []string {
	return []string{"Client", "DefaultClient", "DefaultTransport", "Transport", "Get", "Head", "Post", "PostForm"}
}

// TestLevels reads the files in process: the go command then knows that this
// result depends on them, and does not take it from its cache after a change.
func TestLevels(t *testing.T) {
	problems, err := checkHouse(os.DirFS("../.."), house())
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Error(p)
	}
}

func TestTableOfLevels(t *testing.T) {
	h := house()
	for name, r := range h {
		for _, lower := range r.may {
			if l, known := h[lower]; !known || l.level >= r.level {
				t.Errorf("%s (level %d) may not list %s (level %d, known: %v)", name, r.level, lower, l.level, known)
			}
		}
	}
}

// checkHouse returns every import in the tree that the table does not allow.
func checkHouse(tree fs.FS, h map[string]row) ([]string, error) {
	var problems []string
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir():
			return skipDir(tree, name)
		case path.Ext(name) != ".go":
			return nil
		}
		found, err := checkFile(tree, name, h)
		problems = append(problems, found...)
		return err
	})
	return problems, err
}

// skipDir leaves out what the go command leaves out, and nested modules.
func skipDir(tree fs.FS, name string) error {
	if name == "." {
		return nil
	}
	base := path.Base(name)
	if base == "testdata" || base == "vendor" || base[0] == '.' || base[0] == '_' {
		return fs.SkipDir
	}
	if _, err := fs.Stat(tree, path.Join(name, "go.mod")); err == nil {
		return fs.SkipDir
	}
	return nil
}

func checkFile(tree fs.FS, name string, h map[string]row) ([]string, error) {
	text, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil, err
	}
	file, err := parser.ParseFile(token.NewFileSet(), name, text, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	pkg := path.Dir(name)
	r, known := h[pkg]
	if !known {
		return []string{name + ": package " + pkg + " has no level: give it a row in the table of levels_test.go"}, nil
	}
	test := strings.HasSuffix(name, "_test.go")
	var problems []string
	if test { // its package's own row is about the program
		r = row{r.level, append(testsMay(), below(h, r.level)...)}
	}
	for _, spec := range file.Imports {
		imported, err := strconv.Unquote(spec.Path.Value)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		if why := refuse(pkg, r, imported, test); why != "" {
			problems = append(problems, name+": "+imported+": "+why)
		}
	}
	if !test && !slices.Contains(httpClients(), pkg) {
		for _, use := range clientUses(file) {
			problems = append(problems, name+": net/http."+use+": forge HTTP goes through provision/internal/rest")
		}
	}
	return problems, nil
}

// below returns the packages of lower levels.
func below(h map[string]row, level int) []string {
	var names []string
	for name, r := range h {
		if r.level < level {
			names = append(names, name)
		}
	}
	return names
}

// refuse returns why pkg may not import a path, or "".
func refuse(pkg string, r row, imported string, test bool) string {
	if own, ok := strings.CutPrefix(imported, module); ok {
		if slices.Contains(r.may, own) || test && own == pkg {
			return ""
		}
		return fmt.Sprintf("%s (level %d) may not import it", pkg, r.level)
	}
	standard := !strings.Contains(strings.Split(imported, "/")[0], ".")
	for cone, may := range cones() {
		inCone := imported == cone || strings.HasSuffix(cone, "/") && strings.HasPrefix(imported+"/", cone)
		if !inCone || standard && test {
			continue
		}
		if slices.Contains(may, "*") || slices.Contains(may, pkg) {
			return ""
		}
		return "only in " + strings.Join(may, ", ")
	}
	inModule := func(m string) bool { return strings.HasPrefix(imported, m) }
	switch {
	case standard, test && slices.ContainsFunc(testModules(), inModule):
		return ""
	}
	return "this module may not be used here"
}

// clientUses returns the names of net/http, as the file uses them, that make
// requests.
func clientUses(file *ast.File) []string {
	local := ""
	for _, spec := range file.Imports {
		if spec.Path.Value == `"net/http"` {
			local = "http"
			if spec.Name != nil {
				local = spec.Name.Name
			}
		}
	}
	var uses []string
	ast.Inspect(file, func(n ast.Node) bool {
		if sel, ok := n.(*ast.SelectorExpr); ok && local != "" {
			if x, ok := sel.X.(*ast.Ident); ok && x.Name == local && slices.Contains(httpClientNames(), sel.Sel.Name) {
				uses = append(uses, sel.Sel.Name)
			}
		}
		return true
	})
	return uses
}

func TestCheckHouseFindsEachKind(t *testing.T) {
	files := map[string]string{
		"provision/up.go":                   `package provision; import _ "deploykeyd/agent"`,
		"provision/github/sideways.go":      `package github; import _ "deploykeyd/provision/gitea"`,
		"agent/exec.go":                     `package agent; import _ "os/exec"`,
		"agent/client.go":                   `package agent; import h "net/http"; var _ = h.DefaultClient`,
		"agent/journal/fine.go":             `package journal; import _ "go.etcd.io/bbolt"; import _ "deploykeyd/agent"`,
		"agent/config/bolt.go":              `package config; import _ "go.etcd.io/bbolt/errors"`,
		"agent/key/cmp.go":                  `package key; import _ "github.com/google/go-cmp/cmp"`,
		"agent/key/cmp_test.go":             `package key_test; import _ "github.com/google/go-cmp/cmp"; import _ "deploykeyd/agent/key"`,
		"agent/key/other_test.go":           `package key_test; import _ "github.com/stretchr/testify/assert"`,
		"agent/sim.go":                      `package agent; import _ "deploykeyd/provision/forgesim"`,
		"agent/sim_test.go":                 `package agent_test; import _ "deploykeyd/provision/forgesim"; import _ "os/exec"; import _ "deploykeyd/provision/hostkey"`,
		"agent/up_test.go":                  `package agent_test; import _ "deploykeyd/agent/control"`,
		"provision/gitea/client.go":         `package gitea; import "net/http"; var c http.Client; var _ = http.StatusOK`,
		"provision/utils/new.go":            `package utils`,
		"provision/forgesim/compat/go.mod":  `module compat`,
		"provision/forgesim/compat/skip.go": `package compat; import _ "deploykeyd/agent"`,
		"provision/testdata/skip.go":        `package x; import _ "deploykeyd/agent"`,
		".cache/skip.go":                    `package x; import _ "deploykeyd/agent"`,
		"cmd/deploykeyd/cli/wire.go":        `package cli; import _ "deploykeyd/provision/github"; import _ "github.com/spf13/cobra"`,
		"cmd/deploykeyd/cli/sim.go":         `package cli; import _ "deploykeyd/provision/forgesim"`,
	}
	tree := fstest.MapFS{}
	for name, text := range files {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	got, err := checkHouse(tree, house())
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"agent/client.go: net/http: only in " + strings.Join(cones()["net/http"], ", "),
		"agent/client.go: net/http.DefaultClient: forge HTTP goes through provision/internal/rest",
		"agent/config/bolt.go: go.etcd.io/bbolt/errors: only in agent/journal",
		"agent/exec.go: os/exec: only in " + strings.Join(cones()["os/exec"], ", "),
		"agent/key/cmp.go: github.com/google/go-cmp/cmp: this module may not be used here",
		"agent/key/other_test.go: github.com/stretchr/testify/assert: this module may not be used here",
		"agent/sim.go: deploykeyd/provision/forgesim: agent (level 2) may not import it",
		"agent/up_test.go: deploykeyd/agent/control: agent (level 2) may not import it",
		"cmd/deploykeyd/cli/sim.go: deploykeyd/provision/forgesim: cmd/deploykeyd/cli (level 4) may not import it",
		"provision/gitea/client.go: net/http.Client: forge HTTP goes through provision/internal/rest",
		"provision/github/sideways.go: deploykeyd/provision/gitea: provision/github (level 2) may not import it",
		"provision/up.go: deploykeyd/agent: provision (level 0) may not import it",
		"provision/utils/new.go: package provision/utils has no level: give it a row in the table of levels_test.go",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("problems (-want +got):\n%s", diff)
	}
}

func TestCheckHouseReportsUnreadableSource(t *testing.T) {
	tree := fstest.MapFS{"provision/broken.go": {Data: []byte("package")}}
	if _, err := checkHouse(tree, house()); err == nil {
		t.Error("a file that does not parse passed")
	}
}
