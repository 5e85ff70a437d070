package forgesim_test

import (
	"net"
	"strings"
	"testing"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// TestOwnHosts gives each forge a host, keys and a host key of its own.
func TestOwnHosts(t *testing.T) {
	s := start(t, forgesim.Options{})
	seen := map[string]bool{}
	for i, f := range s.Forges() {
		host, _, err := net.SplitHostPort(f.Addresses().HTTP)
		if err != nil || f.Kind() != kinds()[i] || s.Forge(f.Kind()) != f {
			t.Errorf("forge %d is %s at %s, %v", i, f.Kind(), host, err)
		}
		for _, own := range []string{host, f.SSH().Host + "/ssh", f.HostKeys()[0]} {
			if seen[own] {
				t.Errorf("%s shares %s", f.Kind(), own)
			}
			seen[own] = true
		}
		if err := f.SSH().Check(); err != nil || f.URL() != "http://"+f.Addresses().HTTP {
			t.Errorf("%s, %v, %v", f.URL(), f.SSH(), err)
		}
		if err := f.AddRepository("acme/api", forgesim.RepositoryOptions{}); err != nil {
			t.Error(err)
		}
		f.AddKey("acme/api", "x", newPublic(t), provision.Read)
	}
	for _, f := range s.Forges() {
		if len(f.AllKeys()) != 1 || len(f.Repositories()) != 1 {
			t.Errorf("%s has %+v", f.Kind(), f.AllKeys())
		}
	}
}

func TestNames(t *testing.T) {
	s := start(t, forgesim.Options{Names: true})
	for _, f := range s.Forges() {
		name := string(f.Kind()) + ".test"
		if f.HostName() != name || f.SSH().Host != name || !strings.HasPrefix(f.URL(), "http://"+name+":") {
			t.Errorf("%s, %v, %s", f.URL(), f.SSH(), f.HostName())
		}
	}
}

func TestWithoutSockets(t *testing.T) {
	f := open(t, provision.Gitea)
	if f.URL() != "https://gitea.test" || f.GitDir("acme/api") != "" || f.Addresses() != (forgesim.Listen{}) {
		t.Errorf("%s, %q, %+v", f.URL(), f.GitDir("acme/api"), f.Addresses())
	}
}

func TestBadOptions(t *testing.T) {
	for name, o := range map[string]forgesim.Options{
		"no dialect": {Kinds: []provision.Kind{provision.GitLab}},
		"twice":      {Kinds: []provision.Kind{provision.Gitea, provision.Gitea}},
		"address":    {Listen: map[provision.Kind]forgesim.Listen{provision.GitHub: {HTTP: "nowhere"}}},
		"ssh":        {Listen: map[provision.Kind]forgesim.Listen{provision.GitHub: {SSH: "127.0.0.1:x"}}},
		"dir":        {Dir: "/dev/null/x"},
	} {
		if s, err := forgesim.Start(t.Context(), o); err == nil {
			_ = s.Close()
			t.Errorf("%s: no error", name)
		}
	}
}

func TestAddRepository(t *testing.T) {
	f := open(t, provision.Gitea)
	for _, path := range []string{"", "api", "acme/api", "ACME/Api", "a/b/c", "../x"} {
		if err := f.AddRepository(path, forgesim.RepositoryOptions{}); err == nil {
			t.Errorf("%q was added", path)
		}
	}
}

// TestMistakesPanic makes a test that names what does not exist fail loudly.
func TestMistakesPanic(t *testing.T) {
	f := open(t, provision.Gitea)
	for name, mistake := range map[string]func(){
		"Keys":   func() { f.Keys("acme/nosuch") },
		"AddKey": func() { f.AddKey("acme/nosuch", "x", newPublic(t), provision.Read) },
		"Rename": func() { f.Rename("acme/api", "acme/web") },
		"Inject": func() { f.Inject(forgesim.Fault{Name: "unheard-of"}) },
	} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("%s does not panic", name)
				}
			}()
			mistake()
		}()
	}
}
