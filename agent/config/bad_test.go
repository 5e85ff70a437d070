package config_test

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rogpeppe/go-internal/txtar"

	"deploykeyd/agent/config"
)

var update = flag.Bool("update", false, "write what Parse says into testdata/bad")

// secret is the literal that testdata has wherever a secret may stand by mistake.
const secret = "hunter2"

// TestBadConfigurations compares the whole rendered error of each configuration
// in testdata/bad with the text beside it.
func TestBadConfigurations(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatal("no testdata", err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		golden := map[string]string{}
		var renewed txtar.Archive
		for _, f := range archive.Files {
			golden[f.Name] = string(f.Data)
		}
		for _, f := range archive.Files {
			name, isConfig := strings.CutSuffix(f.Name, ".yaml")
			if !isConfig {
				continue
			}
			got := problemsOf(t, f.Name, f.Data)
			renewed.Files = append(renewed.Files, f, txtar.File{Name: name + ".want", Data: []byte(got)})
			t.Run(strings.TrimSuffix(filepath.Base(file), ".txtar")+"/"+name, func(t *testing.T) {
				if diff := cmp.Diff(golden[name+".want"], got); diff != "" && !*update {
					t.Errorf("problems (-want +got):\n%s", diff)
				}
				if strings.Contains(got, secret) {
					t.Errorf("the secret is shown:\n%s", got)
				}
			})
		}
		if *update {
			if err := os.WriteFile(file, txtar.Format(&renewed), 0o644); err != nil {
				t.Fatal(err)
			}
		}
	}
}

func problemsOf(t *testing.T, name string, text []byte) string {
	t.Helper()
	_, err := config.Parse(name, text)
	problems, ok := errors.AsType[*config.Problems](err)
	if !ok {
		t.Errorf("%s: error %v, want *config.Problems", name, err)
		return ""
	}
	for _, p := range problems.List {
		if p.Text == "" || p.Fix == "" {
			t.Errorf("%s: problem %+v has no text or no fix", name, p)
		}
	}
	return problems.Error() + "\n"
}
