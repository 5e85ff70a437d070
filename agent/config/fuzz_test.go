package config_test

import (
	"errors"
	"path/filepath"
	"slices"
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
	for _, credential := range goodCredentials() {
		f.Add([]byte(credential.text))
	}
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
	if c.Fleet == "" || len(c.Users)+len(c.Groups) == 0 || len(c.Forges) == 0 {
		t.Errorf("something required is missing: %+v", c)
	}
	if c.Key.Type == "" || c.Key.Expire < 10*time.Minute || c.Key.Expire > provision.MaxTagAhead ||
		c.Shutdown.Timeout < time.Second || c.Shutdown.Timeout > 10*time.Minute ||
		c.Ready != config.ReadyAll && c.Ready != config.ReadyAny {
		t.Errorf("a value is out of its bounds: %+v", c)
	}
	for _, id := range slices.Concat(c.Users, c.Groups) {
		if id == "" || id == "65534" || id == "4294967295" {
			t.Errorf("users %q, groups %q", c.Users, c.Groups)
		}
	}
	claimed := map[string]bool{}
	for _, f := range c.Forges {
		checkCredential(t, f)
		if f.Name == "" || f.URL == "" || f.SSH.Check() != nil || len(f.Repositories) == 0 ||
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

// checkCredential holds that a forge has one whole credential that its kind takes.
func checkCredential(t *testing.T, f config.Forge) {
	t.Helper()
	var refs []config.CredentialRef
	fine := (f.Username != "") == (f.Kind == provision.BitbucketCloud && f.OAuth == nil)
	if f.Token.Line != 0 {
		refs = append(refs, f.Token)
	}
	if f.OAuth != nil {
		refs = append(refs, f.OAuth.Secret)
		fine = fine && f.Kind == provision.BitbucketCloud && f.OAuth.ID != ""
	}
	if f.App != nil {
		refs = append(refs, f.App.PrivateKey)
		fine = fine && f.Kind == provision.GitHub && f.App.ID != "" && f.App.Installation >= 0
		owner, _, _ := strings.Cut(string(f.Repositories[0].Repository), "/")
		for _, r := range f.Repositories {
			other, _, _ := strings.Cut(string(r.Repository), "/")
			fine = fine && strings.EqualFold(owner, other)
		}
	}
	if !fine || len(refs) != 1 {
		t.Fatalf("forge %+v", f)
	}
	places, ref := 0, refs[0]
	for _, there := range []bool{ref.File != "", ref.Env != "", ref.Systemd != "", len(ref.Command) > 0} {
		if there {
			places++
		}
	}
	limited := ref.Timeout >= time.Second && ref.Timeout <= 2*time.Minute
	if places != 1 || ref.Line == 0 || limited != (len(ref.Command) > 0) || !limited && ref.Timeout != 0 ||
		len(ref.Command) > 64 || strings.Contains(strings.Join(ref.Command, ""), "\x00") {
		t.Errorf("secret at %+v", ref)
	}
}
