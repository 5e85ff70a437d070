package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"deploykeyd/agent/config"
	"deploykeyd/provision"
)

const cloudInit = "../../packaging/cloud-init"

// userDataFiles returns the examples of user-data by name.
func userDataFiles(t *testing.T) map[string]string {
	t.Helper()
	paths, err := filepath.Glob(filepath.Join(cloudInit, "*.yaml"))
	if err != nil || len(paths) == 0 {
		t.Fatalf("no user-data in %s: %v", cloudInit, err)
	}
	files := map[string]string{}
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		files[filepath.Base(path)] = string(text)
	}
	return files
}

// writtenFile is an entry of write_files.
type writtenFile struct{ path, mode, content string }

// writtenFiles takes the entries of write_files out of user-data that is laid
// out as ours is. That it is valid as a whole is for cloud-init to say.
func writtenFiles(t *testing.T, userData string) []writtenFile {
	t.Helper()
	const entry, text = "  - path: ", "      "
	var files []writtenFile
	inside := false
	for line := range strings.Lines(userData) {
		last := len(files) - 1
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(line, entry):
			files, inside = append(files, writtenFile{path: strings.TrimPrefix(strings.TrimSpace(line), "- path: ")}), false
		case last < 0:
		case strings.HasPrefix(line, "    permissions: "):
			files[last].mode = strings.Trim(strings.TrimPrefix(trimmed, "permissions: "), `"`)
		case line == "    content: |\n":
			inside = true
		case inside && (trimmed == "" || strings.HasPrefix(line, text)):
			files[last].content += strings.TrimPrefix(line, text)
		default:
			inside = false
		}
	}
	for i := range files {
		files[i].content = strings.TrimRight(files[i].content, "\n") + "\n"
	}
	return files
}

func written(t *testing.T, userData, path string) writtenFile {
	t.Helper()
	for _, f := range writtenFiles(t, userData) {
		if f.path == path {
			return f
		}
	}
	t.Fatalf("user-data writes no %s", path)
	return writtenFile{}
}

// configOf is the configuration that user-data writes.
func configOf(t *testing.T, name, userData string) config.Config {
	t.Helper()
	c, err := config.Parse(name, []byte(written(t, userData, "/etc/deploykeyd/deploykeyd.yaml").content))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestUserDataConfigurations(t *testing.T) {
	t.Parallel()
	kinds := map[provision.Kind]bool{}
	for name, text := range userDataFiles(t) {
		c := configOf(t, name, text)
		for _, f := range c.Forges {
			kinds[f.Kind] = true
			if f.App != nil {
				kinds["as an App"] = true
			}
		}
		// as the command line checks it, host keys too
		s := &site{dir: t.TempDir()}
		s.config = filepath.Join(s.dir, "deploykeyd.yaml")
		if err := os.WriteFile(s.config, []byte(written(t, text, "/etc/deploykeyd/deploykeyd.yaml").content), 0o600); err != nil {
			t.Fatal(err)
		}
		status, stdout, stderr := s.do(t, "config", "check")
		alone := strings.Contains(stderr, "1 problem\n") && strings.Contains(stderr, "/etc/deploykeyd/credentials/")
		if status != 0 && !alone { // the credential is not here
			t.Errorf("%s: exit status %d: %s%s", name, status, stdout, stderr)
		}
	}
	for _, kind := range []provision.Kind{provision.Gitea, provision.GitHub, provision.BitbucketCloud, "as an App"} {
		if !kinds[kind] {
			t.Errorf("no user-data is for %s", kind)
		}
	}
}

// What every example does, in this order.
func TestUserDataSteps(t *testing.T) {
	t.Parallel()
	for name, text := range userDataFiles(t) {
		if !strings.HasPrefix(text, "#cloud-config\n") {
			t.Errorf("%s: cloud-init takes it for something else", name)
		}
		steps := []string{
			"packages: [deploykeyd,", "\nruncmd:\n", "[systemctl, enable, --now, deploykeyd-metadata.service]",
			"[deploykeyd, service, gate, jenkins-agent]", "[deploykeyd, up, --timeout, 5m]",
			"[systemctl, enable, --now, --no-block, jenkins-agent.service]",
		}
		if credential := "  - [/usr/local/sbin/deploykeyd-credential]\n"; strings.Contains(text, credential) {
			steps = slices.Insert(steps, 3, credential)
		} else if strings.Contains(text, "path: /usr/local/sbin/deploykeyd-credential\n") {
			t.Errorf("%s: its step of root is never run", name)
		}
		at := 0
		for _, step := range steps {
			i := strings.Index(text[at:], step)
			if i < 0 {
				t.Errorf("%s: no %q after the steps before it", name, step)
				continue
			}
			at += i
		}
		if n := strings.Count(text, "[deploykeyd, up"); n != 1 {
			t.Errorf("%s: up is run %d times", name, n)
		}
		watches := strings.Contains(text, "path: /etc/deploykeyd/preemption\n")
		if started := strings.Contains(text, "deploykeyd-preemption.service]"); started != watches {
			t.Errorf("%s: preemption is configured: %v, and started: %v", name, watches, started)
		}
		for _, f := range writtenFiles(t, text) {
			if strings.HasPrefix(f.path, "/etc/deploykeyd/credentials") {
				t.Errorf("%s: user-data holds %s, which everybody can read", name, f.path)
			}
		}
	}
}

// The shell that reads a step's script reads all of it.
func TestUserDataScripts(t *testing.T) {
	t.Parallel()
	scripts := 0
	for name, text := range userDataFiles(t) {
		for _, f := range writtenFiles(t, text) {
			if !strings.HasPrefix(f.content, "#!/bin/sh\n") {
				continue
			}
			scripts++
			c := exec.CommandContext(t.Context(), "sh", "-n")
			c.Stdin = strings.NewReader(f.content)
			if status, _, stderr := finish(t, c); status != 0 {
				t.Errorf("%s: %s: %s", name, f.path, stderr)
			}
			if !strings.Contains(f.content, "\nset -eu\n") {
				t.Errorf("%s: %s goes on after what fails", name, f.path)
			}
			if rootAlone := strings.HasPrefix(f.path, "/usr/local/sbin/"); rootAlone != (f.mode == "0700") || !rootAlone && f.mode != "0755" {
				t.Errorf("%s: %s has the mode %s", name, f.path, f.mode)
			}
		}
	}
	if scripts != 3 {
		t.Errorf("%d scripts were found", scripts)
	}
}
