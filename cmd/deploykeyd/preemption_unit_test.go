package main_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const preemptionUnit = "../../systemd/deploykeyd-preemption.service"

// placed copies a unit to where its program and user exist, as on a machine
// with the package.
func placed(t *testing.T, unit, program string) string {
	t.Helper()
	text, err := os.ReadFile(unit)
	if err != nil {
		t.Fatal(err)
	}
	here := strings.NewReplacer(program, "/bin/true", "User=deploykeyd", "User="+listedUser, "Group=deploykeyd", "Group="+listedUser).Replace(string(text))
	if here == string(text) {
		t.Fatalf("%s does not run %s", unit, program)
	}
	path := filepath.Join(t.TempDir(), filepath.Base(unit))
	if err := os.WriteFile(path, []byte(here), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// analyze runs systemd-analyze, of the package systemd.
func analyze(t *testing.T, args ...string) (status int, said string) {
	t.Helper()
	status, stdout, stderr := finish(t, exec.CommandContext(t.Context(), "systemd-analyze", args...))
	return status, stdout + stderr
}

func TestPreemptionUnit(t *testing.T) {
	t.Parallel()
	path := placed(t, preemptionUnit, "/usr/bin/deploykeyd")
	if status, said := analyze(t, "verify", "--man=no", path); status != 0 || said != "" {
		t.Errorf("verify: exit status %d: %s", status, said)
	}
	if status, said := analyze(t, "security", "--offline=true", "--threshold=20", "--no-pager", path); status != 0 {
		t.Errorf("its exposure is above 2.0: %s", said)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	set := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		if name, value, ok := strings.Cut(strings.TrimSpace(line), "="); ok && !strings.HasPrefix(name, "#") {
			set[name] = append(set[name], value)
		}
	}
	// A unit that is bound to deploykeyd.service in any way would end with it or
	// end it; and the credentials of the forges are none of its business.
	for _, never := range []string{"Requires", "BindsTo", "PartOf", "Upholds", "Requisite", "PropagatesStopTo", "LoadCredential", "SetCredential"} {
		if values := set[never]; values != nil {
			t.Errorf("%s=%q", never, values)
		}
	}
	if !slices.Contains(strings.Fields(strings.Join(set["RestartPreventExitStatus"], " ")), "2") || slices.Contains(strings.Fields(strings.Join(set["RestartPreventExitStatus"], " ")), "3") {
		t.Errorf("RestartPreventExitStatus=%q: keys that may remain (3) are tried again, wrong settings (2) are not", set["RestartPreventExitStatus"])
	}
}
