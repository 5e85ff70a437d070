package service

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// What systemctl show prints, as seen on systemd 252.
func TestParseUnit(t *testing.T) {
	t.Parallel()
	const step = "ExecStartPre={ path=/usr/bin/deploykeyd ; argv[]=/usr/bin/deploykeyd ssh-config --write ; ignore_errors=no ; " +
		"start_time=[Mon 2026-11-23 20:08:22 UTC] ; stop_time=[Mon 2026-11-23 20:08:22 UTC] ; pid=522 ; code=exited ; status="
	for _, c := range []struct {
		name, text, says string
		want             Unit
		failing, wanted  bool
	}{
		{
			"running", "Restart=always\nResult=success\nExecMainStatus=0\n" + step + "0 }\nLoadState=loaded\nActiveState=active\n" +
				"SubState=running\nUnitFileState=enabled\nUser=deploykeyd\nFragmentPath=/usr/lib/systemd/system/deploykeyd.service\n",
			"u is active (running)",
			Unit{
				Load: "loaded", Active: "active", Sub: "running", Result: "success", Enabled: "enabled", Restart: "always",
				User: "deploykeyd", Path: "/usr/lib/systemd/system/deploykeyd.service",
			},
			false, true,
		},
		{
			"refused by the first step", "Result=exit-code\nExecMainStatus=0\n" + step + "2 }\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\n",
			"u is activating (auto-restart), its last run ended with exit status 2",
			Unit{Load: "loaded", Active: "activating", Sub: "auto-restart", Result: "exit-code", Status: 2},
			true, true,
		},
		{
			"keys may remain", "Result=exit-code\nExecMainStatus=3\n" + step + "0 }\nLoadState=loaded\nActiveState=failed\nSubState=failed\n",
			"u is failed (failed), its last run ended with exit status 3",
			Unit{Load: "loaded", Active: "failed", Sub: "failed", Result: "exit-code", Status: 3},
			true, false,
		},
		{
			"killed", "Result=signal\nExecMainStatus=9\nLoadState=loaded\nActiveState=activating\nSubState=auto-restart\n",
			"u is activating (auto-restart), its last run ended with signal",
			Unit{Load: "loaded", Active: "activating", Sub: "auto-restart", Result: "signal"},
			true, true,
		},
		{
			"being stopped", "Result=success\nLoadState=loaded\nActiveState=deactivating\nSubState=stop-sigterm\n",
			"u is deactivating (stop-sigterm)",
			Unit{Load: "loaded", Active: "deactivating", Sub: "stop-sigterm", Result: "success"},
			false, false,
		},
		{
			"not there", "Result=success\nLoadState=not-found\nActiveState=inactive\nSubState=dead\n", "u is not installed",
			Unit{Load: "not-found", Active: "inactive", Sub: "dead", Result: "success"},
			false, false,
		},
	} {
		u := parseUnit(c.text)
		if diff := cmp.Diff(c.want, u); diff != "" {
			t.Errorf("%s: %s", c.name, diff)
		}
		u.Name = "u"
		if u.String() != c.says || u.Failing() != c.failing || u.Wanted() != c.wanted {
			t.Errorf("%s: %q, failing %v, wanted %v", c.name, u, u.Failing(), u.Wanted())
		}
	}
}

func TestGateUnitNames(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"jenkins-agent":                      "jenkins-agent.service",
		"jenkins-agent.service":              "jenkins-agent.service",
		"buildkite-agent@2":                  "buildkite-agent@2.service",
		"actions.runner.acme-api.m1.service": "actions.runner.acme-api.m1.service",
		`a\x2db`:                             `a\x2db.service`,
	} {
		got, err := GateUnits(t.Context(), name)
		if err != nil || len(got) != 1 || got[0] != want {
			t.Errorf("%s: %v, %v", name, got, err)
		}
	}
	for _, name := range []string{
		"", "../ssh", "a/b", "a b", "a\nb", "a?", "é", "deploykeyd", "deploykeyd.service", "*/x", "a%i", "[a]", strings.Repeat("a", 250),
	} {
		if got, err := GateUnits(t.Context(), name); err == nil {
			t.Errorf("%q: %v", name, got)
		}
	}
}

func TestCheckProgram(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("run it as root: the program has to be root's")
	}
	if err := checkProgram("/usr/bin/env"); err != nil {
		t.Error(err)
	}
	open := filepath.Join(t.TempDir(), "deploykeyd") // below a directory that all may write to
	if err := os.WriteFile(open, nil, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, says := range map[string]string{
		open: "others than root", "/home/me/deploykeyd": "/home/", "/root/deploykeyd": "/root/", "/run/user/0/deploykeyd": "/run/user/",
		"/usr/bin/deploy keyd": "characters", "/usr/bin/%n": "characters", "/usr/bin/{{Path}}": "characters", "deploykeyd": "characters",
		"/usr/bin/nosuch": "no such file",
	} {
		if err := checkProgram(path); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", path, err, says)
		}
	}
}
