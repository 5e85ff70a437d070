package provision_test

import (
	"strings"
	"testing"

	"deploykeyd/provision"
)

func TestParseRepository(t *testing.T) {
	for _, c := range []struct {
		kind provision.Kind
		in   string
		fine bool
	}{
		{provision.GitHub, "acme/app", true},
		{provision.GitHub, "acme/app.js", true},
		{provision.BitbucketCloud, "{85d08b4e-571d-44e9-a507-fa476535aa98}/{85d08b4e}", true},
		{provision.BitbucketDataCenter, "~jo/app", true},
		{provision.GitLab, "group/sub/deep/app", true},
		{provision.GitHub, "group/sub/app", false},
		{provision.Gitea, "", false},
		{provision.Gitea, "app", false},
		{provision.Gitea, "/app", false},
		{provision.Gitea, "acme/", false},
		{provision.Gitea, "acme//app", false},
		{provision.Gitea, "acme/app.git", false},
		{provision.Gitea, "acme/..", false},
		{provision.Gitea, "./app", false},
		{provision.GitLab, "a/../b", false},
		{provision.Gitea, "acme/-app", false},
		{provision.Gitea, "--upload-pack=x/app", false},
		{provision.Gitea, "acme/a b", false},
		{provision.Gitea, "acme/a\nb", false},
		{provision.Gitea, "acme/a?b", false},
		{provision.Gitea, "acme/a#b", false},
		{provision.Gitea, "acme/a%2fb", false},
		{provision.Gitea, `acme/a\b`, false},
		{provision.Gitea, "acme/'app'", false},
		{provision.Gitea, "acme/é", false},
	} {
		repo, err := provision.ParseRepository(c.kind, c.in)
		if (err == nil) != c.fine {
			t.Errorf("%s %q gives %v", c.kind, c.in, err)
		}
		if err == nil && string(repo) != c.in || err != nil && repo != "" {
			t.Errorf("%s %q came back as %q", c.kind, c.in, repo)
		}
	}
}

func TestRepositoryParts(t *testing.T) {
	for in, want := range map[provision.Repository][2]string{
		"acme/app": {"acme", "app"}, "g/sub/app": {"g/sub", "app"}, "app": {"", "app"}, "": {"", ""},
	} {
		if got := [2]string{in.Owner(), in.Name()}; got != want {
			t.Errorf("%q has the parts %q", in, got)
		}
	}
	if !provision.Same("Acme/App", "acme/app") || provision.Same("acme/app", "acme/apps") {
		t.Error("Same is wrong")
	}
}

func TestParseClonePath(t *testing.T) {
	for _, c := range []struct {
		kind     provision.Kind
		in, want string
	}{
		{provision.Gitea, "acme/app", "acme/app"},
		{provision.Gitea, "/acme/app.git", "acme/app"},
		{provision.Gitea, "acme/app.git/", "acme/app"},
		{provision.GitLab, "/g/sub/app.git", "g/sub/app"},
		{provision.BitbucketDataCenter, "/scm/proj/app.git", "proj/app"},
		{provision.BitbucketDataCenter, "proj/app.git", "proj/app"},
		{provision.BitbucketDataCenter, "/~jo/app.git", "~jo/app"},
		{provision.BitbucketDataCenter, "/scm/~jo/app.git", "~jo/app"},
		{provision.BitbucketDataCenter, "/scm/app.git", "scm/app"}, // a project may have that key
		{provision.BitbucketDataCenter, "SCM/app", "SCM/app"},
		{provision.BitbucketDataCenter, "/scm/a/b/c.git", ""},
		{provision.BitbucketDataCenter, "scm/", ""},
		{provision.BitbucketCloud, "{8f}/{9a}.git", "{8f}/{9a}"},
		{provision.GitLab, "/Group/Sub/App.git", "Group/Sub/App"},
		{provision.GitHub, "scm/app.git", "scm/app"},
		{provision.GitHub, "/scm/acme/app.git", ""},
		{provision.GitHub, "//acme/app", ""},
		{provision.GitHub, "acme/app.git.git", ""},
		{provision.GitHub, "~/acme/app", ""},
		{provision.GitHub, "acme/app'; rm", ""},
		{provision.GitHub, "", ""},
		{provision.GitHub, ".git", ""},
	} {
		got, err := provision.ParseClonePath(c.kind, c.in)
		if string(got) != c.want || (err == nil) != (c.want != "") {
			t.Errorf("%s %q gives %q, %v; want %q", c.kind, c.in, got, err, c.want)
		}
	}
}

func TestTarget(t *testing.T) {
	target := provision.RepositoryTarget("acme/app")
	if repo, ok := target.Repository(); !ok || repo != "acme/app" || target.String() != "acme/app" {
		t.Errorf("repository target is %s", target)
	}
	project := provision.Target{Path: "acme/BUILD", Project: true}
	if repo, ok := project.Repository(); ok || repo != "" || project.String() != "project acme/BUILD" {
		t.Errorf("project target is %s", project)
	}
}

func FuzzParseClonePath(f *testing.F) {
	for _, s := range []string{"/acme/app.git", "g/s/app", "/scm/p/a.git/", "../..", "a/b\x00", "-x/y", ".git", "{u}/{v}"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, path string) {
		for _, kind := range provision.Kinds() {
			repo, err := provision.ParseClonePath(kind, path)
			if err != nil {
				if repo != "" {
					t.Errorf("%s %q: a refused path came back as %q", kind, path, repo)
				}
				continue
			}
			if again, err := provision.ParseRepository(kind, string(repo)); err != nil || again != repo {
				t.Errorf("%s %q gives %q, which is no repository: %v", kind, path, repo, err)
			}
			for part := range strings.SplitSeq(string(repo), "/") {
				if part == "" || part == "." || part == ".." || part[0] == '-' || strings.ContainsAny(part, " \t\r\n'\"\\?#%*$`;&|<>") {
					t.Errorf("%s %q has the part %q", kind, path, part)
				}
			}
			if !strings.Contains(path, string(repo)) {
				t.Errorf("%s %q gives %q, which it does not hold", kind, path, repo)
			}
		}
	})
}
