package credential

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"
)

// foreign is a source that others wrote.
type foreign struct{ text string }

func (foreign) String() string { return "foreign" }

func (f foreign) Load(context.Context) (Secret, error) { return NewSecret(f.text), nil }

// holds is every exported type of this package that may hold a credential, or
// stands near one.
func holds() map[string][]any {
	secret := NewSecret(theToken)
	program := Command([]string{"/bin/give", theToken}, 0, "X")
	oauth := OAuthOptions{Doer: panicDoer{}, URL: "https://x", ID: "1", Secret: program}
	app := AppOptions{Doer: panicDoer{}, ID: "1", Installation: 2, Key: program}
	return map[string][]any{
		"Secret":       {secret, &secret, NewExpiring(theToken, time.Now())},
		"OAuthOptions": {oauth, &oauth},
		"AppOptions":   {app, &app},
		"Source":       {program, File("/x"), Env("X"), Systemd("x"), OAuthClient(oauth), GitHubApp(app)},
		"Error":        {&Error{Reason: Trouble, Message: "no"}, Error{}},
		"Doer":         {panicDoer{}},
		"Reason":       {Trouble},
	}
}

// nest puts a value where fmt does not ask its methods.
func nest(v any) []any {
	type wrapped struct{ hidden any }
	return []any{v, &v, wrapped{v}, &wrapped{v}, []any{v}, map[string]any{"k": v}, struct{ w *wrapped }{&wrapped{v}}, [1]wrapped{{v}}}
}

// TestG8NothingPrintsACredential prints and marshals every exported type in every
// way.
func TestG8NothingPrintsACredential(t *testing.T) {
	for name, values := range holds() {
		for _, value := range values {
			for _, v := range nest(value) {
				for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%b", "%c", "%e", "%t", "%U", "%T", "%p", "%w", "%10.3s", "%-40v"} {
					hidden(t, name+" "+verb, fmt.Sprintf(verb, v), theToken)
				}
				text, _ := json.Marshal(v) // a function cannot be marshalled, which shows nothing
				hidden(t, name+" as JSON", string(text), theToken)
				var out bytes.Buffer
				for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
					slog.New(h).Info("x", "v", v, slog.Group("g", "v", v))
				}
				hidden(t, name+" in logs", out.String(), theToken)
			}
		}
	}
}

// TestG8EveryTypeIsPrinted keeps the table of the test above whole.
func TestG8EveryTypeIsPrinted(t *testing.T) {
	known := holds()
	files, err := fs.Glob(os.DirFS("."), "*.go")
	if err != nil {
		t.Fatal(err)
	}
	seen := 0
	for _, name := range files {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			if spec, ok := n.(*ast.TypeSpec); ok && spec.Name.IsExported() {
				if seen++; known[spec.Name.Name] == nil {
					t.Errorf("%s: no test prints %s", name, spec.Name)
				}
			}
			return true
		})
	}
	if seen != len(known) {
		t.Errorf("%d types, %d are printed", seen, len(known))
	}
}
