package main

import (
	"bytes"
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"

	"deploykeyd/agent/config"
	"deploykeyd/cmd/deploykeyd/cli"
)

func TestPagesAreClean(t *testing.T) {
	for name, page := range pages(t) {
		c := exec.CommandContext(t.Context(), "mandoc", "-Tlint", "-W", "warning")
		c.Stdin = strings.NewReader(page)
		if said, err := c.CombinedOutput(); err != nil || len(said) > 0 {
			t.Errorf("%s: %v (this test needs mandoc)\n%s", name, err, said)
		}
		if strings.Contains(page, "`") {
			t.Errorf("%s has a backquote that is no markup", name)
		}
	}
}

// help asks the program itself.
func help(t *testing.T, command ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if status := cli.Main(append(command, "--help"), &stdout, &stderr); status != 0 {
		t.Fatalf("%q --help: exit status %d: %s", command, status, stderr.String())
	}
	return stdout.String()
}

// TestManualHasEveryCommandAndFlag goes through the help of every command.
func TestManualHasEveryCommandAndFlag(t *testing.T) {
	t.Setenv("RUNTIME_DIRECTORY", "/run/somewhere-else")
	t.Setenv("STATE_DIRECTORY", "/var/lib/somewhere-else")
	text := shown(t, pages(t)["deploykeyd.8"])
	if strings.Contains(text, "somewhere-else") {
		t.Error("the manual has this machine's directories")
	}
	_, commands, found := strings.Cut(text, "\nCOMMANDS")
	if !found {
		t.Fatal("no section of commands")
	}
	visited := 0
	var visit func(command []string)
	visit = func(command []string) {
		visited++
		said := help(t, command...)
		name := "deploykeyd " + strings.Join(command, " ")
		children := regexp.MustCompile(`(?m)^  ([a-z][a-z-]+) +\S`).FindAllStringSubmatch(between(said, "Available Commands:\n", "\n\n"), -1)
		for _, child := range children {
			if child[1] != "help" {
				visit(append(slices.Clone(command), child[1]))
			}
		}
		if len(command) == 0 || len(children) > 0 {
			return
		}
		at := regexp.MustCompile(`(?m)^   ` + name + `( .*)?$`).FindStringIndex(commands)
		if at == nil {
			t.Errorf("%s is not in the manual", name)
			return
		}
		own, _, _ := strings.Cut(commands[at[1]:], "\n   deploykeyd ")
		if !strings.Contains(text, name+" ") && !strings.Contains(text, name+"\n") {
			t.Errorf("%s is not in the synopsis", name)
		}
		for _, flag := range regexp.MustCompile(`(?m)^ +(?:-., )?(--[a-z-]+)`).FindAllStringSubmatch(between(said, "\nFlags:\n", "\n\n"), -1) {
			if flag[1] != "--help" && !regexp.MustCompile(`(?m)^ +(-., )?`+flag[1]+`( |$)`).MatchString(own) {
				t.Errorf("%s of %s is not in the manual", flag[1], name)
			}
		}
	}
	visit(nil)
	if visited < 12 {
		t.Errorf("%d commands were found in the help", visited)
	}
	for _, global := range []string{"-c, --config", "--run-dir", "--state-dir", "default is /run/deploykeyd.", "default is /var/lib/deploykeyd."} {
		if !strings.Contains(between(text, "\nOPTIONS\n", "\nCOMMANDS\n"), global) {
			t.Errorf("%s is not among the options", global)
		}
	}
}

// between returns what stands after one text and before the next other.
func between(text, from, to string) string {
	_, after, _ := strings.Cut(text, from)
	part, _, _ := strings.Cut(after, to)
	return part
}

func TestChaptersOfTheManual(t *testing.T) {
	text := shown(t, pages(t)["deploykeyd.8"])
	var sections []string
	for _, m := range regexp.MustCompile(`(?m)^([A-Z][A-Z ]+)$`).FindAllStringSubmatch(text, -1) {
		sections = append(sections, m[1])
	}
	want := []string{"NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS", "FILES", "ENVIRONMENT", "SIGNALS", "SECURITY", "EXAMPLES", "SEE ALSO"}
	if !slices.Equal(sections, want) {
		t.Errorf("sections %q, want %q", sections, want)
	}
	for status := range 5 {
		if !regexp.MustCompile(fmt.Sprintf(`(?m)^ +%d +[A-Z].+\.`, status)).MatchString(between(text, "\nEXIT STATUS\n", "\nFILES\n")) {
			t.Errorf("exit status %d is not explained", status)
		}
	}
	for _, words := range []string{"SIGTERM, SIGINT", "SIGHUP", "/etc/deploykeyd/deploykeyd.yaml", "STATE_DIRECTORY", "CREDENTIALS_DIRECTORY", "journal.db"} {
		if !strings.Contains(text, words) {
			t.Errorf("%s is not in the manual", words)
		}
	}
	if m := regexp.MustCompile(`The default is \S*\d[hm]0`).FindString(text); m != "" {
		t.Errorf("%q is no time as a person writes it", m)
	}
}

// TestConfigManualHasEveryField holds the page against the reference, and its
// example against the one that the program prints.
func TestConfigManualHasEveryField(t *testing.T) {
	text := shown(t, pages(t)["deploykeyd.yaml.5"])
	flat := strings.Join(strings.Fields(text), " ")
	plain := strings.NewReplacer("`", "")
	for _, s := range config.ReferenceDoc().Sections {
		if !strings.Contains(text, "\n"+strings.ToUpper(s.Title)+"\n") {
			t.Errorf("%s has no section", s.Title)
		}
		for _, f := range s.Fields {
			if words := f.Name + " " + plain.Replace(f.Meaning); !strings.Contains(flat, words) {
				t.Errorf("%s: %q is not in the manual", f.Path, words)
			}
			for _, v := range f.Values {
				if words := v.Value + " " + plain.Replace(sentence(v.Means)); !strings.Contains(flat, words) {
					t.Errorf("%s: %q is not in the manual", f.Path, words)
				}
			}
		}
	}
	for line := range strings.Lines(config.Example()) {
		if line = strings.TrimRight(line, "\n"); !strings.Contains(text, "\n"+strings.TrimRight("           "+line, " ")+"\n") {
			t.Errorf("the example lacks %q", line)
		}
	}
}
