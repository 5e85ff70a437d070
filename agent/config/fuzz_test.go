package config_test

import (
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/txtar"

	"deploykeyd/agent/config"
	"deploykeyd/provision"
)

// FuzzParse checks that no text makes Parse panic, that what it refuses has
// places within the text, and that what it accepts keeps every promise of
// Config and says the same when it is read again.
func FuzzParse(f *testing.F) {
	f.Add([]byte(config.Example()))
	f.Add([]byte(`{"fleet": "f", "users": [1], "forges": [{"name": "x", "kind": "github", "credential": {"token": {"env": "T"}}, "repositories": ["a/b"]}]}`))
	files, err := filepath.Glob("testdata/bad/*.txtar")
	if err != nil {
		f.Fatal(err)
	}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			f.Fatal(err)
		}
		for _, c := range archive.Files {
			if strings.HasSuffix(c.Name, ".yaml") {
				f.Add(c.Data)
			}
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := config.Parse("fuzz", text)
		if err == nil {
			checkPromises(t, c)
			again, err := config.Parse("fuzz", text)
			if d := diff(c, again); d != "" || err != nil {
				t.Errorf("read again: %v\n%s", err, d)
			}
			return
		}
		problems, ok := errors.AsType[*config.Problems](err)
		if !ok || len(problems.List) == 0 || err.Error() == "" {
			t.Fatalf("error %v", err)
		}
		for _, p := range problems.List {
			if p.Text == "" || p.Fix == "" || p.Line < 0 || p.Line > strings.Count(string(text), "\n")+1 {
				t.Errorf("problem %+v", p)
			}
		}
	})
}

func checkPromises(t *testing.T, c config.Config) {
	t.Helper()
	if c.Fleet == "" || len(c.Users) == 0 || len(c.Forges) == 0 {
		t.Errorf("something required is missing: %+v", c)
	}
	if c.Key.Type == "" || c.Key.Expire < 10*time.Minute || c.Key.Expire > provision.MaxTagAhead ||
		c.Shutdown.Timeout < time.Second || c.Shutdown.Timeout > 10*time.Minute ||
		c.Ready != config.ReadyAll && c.Ready != config.ReadyAny {
		t.Errorf("a value is out of its bounds: %+v", c)
	}
	claimed := map[string]bool{}
	for _, f := range c.Forges {
		hasToken := (f.Token.File == "") != (f.Token.Env == "")
		if f.Name == "" || f.URL == "" || f.SSH.Check() != nil || !hasToken || len(f.Repositories) == 0 ||
			f.Bind != config.BindPrefer && f.Bind != config.BindRequire {
			t.Errorf("forge %+v", f)
		}
		for _, r := range f.Repositories {
			if _, err := provision.ParseRepository(f.Kind, string(r.Repository)); err != nil {
				t.Error(err)
			}
			id := f.URL + " " + strings.ToLower(string(r.Repository))
			if claimed[id] || r.Access != provision.Read && r.Access != provision.Write ||
				r.Access == provision.Write && !provision.TraitsOf(f.Kind).WriteAccess {
				t.Errorf("repository %+v of %s", r, f.URL)
			}
			claimed[id] = true
		}
	}
}
