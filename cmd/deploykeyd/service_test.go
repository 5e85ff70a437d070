package main_test

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"

	"deploykeyd/systemd"
)

const installedProgram = "/usr/local/bin/deploykeyd"

func TestServiceInstall(t *testing.T) {
	t.Parallel()
	h := newHost(t).boot(t)
	h.must(t, 0, []string{"made /etc/deploykeyd/credentials", "wrote and enabled /etc/systemd/system/deploykeyd.service"}, "service", "install")
	text := h.read(t, h.unit())
	if want := string(systemd.Service(installedProgram)); !strings.HasSuffix(text, want) {
		t.Errorf("the unit is not ours:\n%s", text)
	}
	if asked := h.asked(t); asked != "enable deploykeyd.service\ndaemon-reload\n--version\n" {
		t.Errorf("systemctl was asked:\n%s", asked)
	}
	if !regexp.MustCompile(`(?m)^deploykeyd:.*:/var/lib/deploykeyd:.*nologin$`).MatchString(h.read(t, filepath.Join(h.etc, "passwd"))) {
		t.Error("there is no user deploykeyd")
	}
	credentials := filepath.Join(h.etc, "deploykeyd", "credentials")
	if info, err := os.Stat(credentials); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("%v, %v", info, err)
	}

	// Once more, with a folder that somebody has opened: the unit stays.
	if err := os.Chmod(credentials, 0o755); err != nil {
		t.Fatal(err)
	}
	stdout, _ := h.must(t, 0, []string{"0755 is now 0700", "enabled deploykeyd.service"}, "service", "install")
	if strings.Contains(stdout, "wrote") || h.read(t, h.unit()) != text {
		t.Errorf("the unit was written again: %s", stdout)
	}

	// One of an earlier version is replaced.
	h.write(t, h.unit(), text+"# older\n")
	h.must(t, 0, []string{"removed the old", "wrote and enabled"}, "service", "install")
	if h.read(t, h.unit()) != text {
		t.Error("the old unit is still there")
	}
}

// In an image that is being made no systemd runs; old ones are warned of.
func TestServiceInstallInAnImage(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	h.executable(t, filepath.Join(h.bin, "systemctl"), "#!/bin/sh\n"+`case "$*" in *--version) echo "systemd 249 (249.11)";; *) echo "$SYSTEMD_OFFLINE $*" >>/var/lib/systemctl.log;; esac`+"\n")
	h.must(t, 0, []string{"wrote and enabled", "warning: systemd 249", "LoadCredential=deploykeyd_NAME"}, "service", "install")
	if asked := h.asked(t); asked != "1 enable deploykeyd.service\n1 daemon-reload\n" {
		t.Errorf("systemctl was asked:\n%s", asked)
	}
	for _, command := range [][]string{{"service", "start"}, {"service", "stop"}, {"service", "status"}, {"up"}} {
		h.must(t, 1, []string{"systemd does not run this machine", "next:"}, command...)
	}
}

func TestServiceInstallShadowsNothing(t *testing.T) {
	t.Parallel()
	packaged := func(h *host) string { return filepath.Join(h.locallib, "systemd", "system", "deploykeyd.service") }
	t.Run("a package's unit", func(t *testing.T) {
		t.Parallel()
		h := newHost(t).boot(t)
		h.must(t, 0, nil, "service", "install")
		h.write(t, packaged(h), "[Service]\nExecStart=/bin/true\n")
		h.must(t, 0, []string{"removed the old /etc/systemd/system/deploykeyd.service", "is used as it is"}, "service", "install")
		if _, err := os.Lstat(h.unit()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the package's unit is shadowed: %v", err)
		}
		if asked := h.asked(t); !strings.HasSuffix(asked, "daemon-reload\nenable deploykeyd.service\n--version\n") {
			t.Errorf("systemctl was asked:\n%s", asked)
		}
		h.must(t, 1, []string{"is a package's", "apt-get remove"}, "service", "uninstall")
	})
	t.Run("somebody's own unit", func(t *testing.T) {
		t.Parallel()
		h := newHost(t).boot(t)
		h.write(t, h.unit(), "[Service]\nExecStart=/bin/true\n")
		for _, command := range []string{"install", "uninstall"} {
			h.must(t, 1, []string{"was not written by this program", "next:"}, "service", command)
		}
		if h.read(t, h.unit()) != "[Service]\nExecStart=/bin/true\n" {
			t.Error("it was changed")
		}
	})
	t.Run("a masked unit", func(t *testing.T) {
		t.Parallel()
		h := newHost(t).boot(t)
		if err := errors.Join(os.MkdirAll(filepath.Dir(h.unit()), 0o750), os.Symlink(os.DevNull, h.unit())); err != nil {
			t.Fatal(err)
		}
		h.must(t, 1, []string{"is masked", "systemctl unmask"}, "service", "install")
	})
	t.Run("a unit that cannot be enabled", func(t *testing.T) {
		t.Parallel()
		h := newHost(t).boot(t)
		h.executable(t, filepath.Join(h.bin, "systemctl"), "#!/bin/sh\nexit 1\n")
		h.must(t, 1, []string{"install the unit", "next:"}, "service", "install")
		if _, err := os.Lstat(h.unit()); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("half an installation is left: %v", err)
		}
	})
}

func TestServiceGate(t *testing.T) {
	t.Parallel()
	h := newHost(t).boot(t)
	const unit = "jenkins-agent.service"
	path := h.gateOf(unit)
	stdout, _ := h.must(t, 0, []string{"# /etc/systemd/system/jenkins-agent.service.d/50-deploykeyd-gate.conf"}, "service", "gate", "--print", "jenkins-agent")
	if !strings.HasSuffix(stdout, string(systemd.Gate(installedProgram))) {
		t.Errorf("printed:\n%s", stdout)
	}
	if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("--print wrote it: %v", err)
	}
	h.asked(t)

	h.must(t, 0, []string{"wrote", "there is no jenkins-agent.service yet"}, "service", "gate", "jenkins-agent")
	if h.read(t, path) != string(systemd.Gate(installedProgram)) {
		t.Errorf("wrote:\n%s", h.read(t, path))
	}
	if asked := h.asked(t); !strings.HasSuffix(asked, "daemon-reload\n") {
		t.Errorf("systemctl was asked:\n%s", asked)
	}
	h.must(t, 0, []string{"nothing to change in"}, "service", "gate", unit)
	if asked := h.asked(t); strings.Contains(asked, "daemon-reload") {
		t.Errorf("systemctl was asked:\n%s", asked)
	}
	h.must(t, 0, []string{"removed"}, "service", "gate", "--remove", "jenkins-agent")
	if _, err := os.Stat(filepath.Dir(path)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the folder is still there: %v", err)
	}
	h.must(t, 0, []string{"there is no"}, "service", "gate", "--remove", "jenkins-agent")
}

func TestServiceGateKnowsTheUnit(t *testing.T) {
	t.Parallel()
	h := newHost(t).boot(t)
	show := func(user, restart string) {
		h.write(t, filepath.Join(h.lib, "show"), "LoadState=loaded\nActiveState=active\nSubState=running\nUser="+user+"\nRestart="+restart+"\n")
	}
	show(listedUser, "always")
	_, stderr := h.must(t, 0, []string{"runs on as it is"}, "service", "gate", "agent")
	if strings.Contains(stderr, "warning") || !strings.Contains(h.read(t, h.gateOf("agent.service")), "\nRestart=always\n") {
		t.Errorf("said %s, wrote:\n%s", stderr, h.read(t, h.gateOf("agent.service")))
	}
	show(otherUser, "no")
	h.must(t, 0, []string{"runs as mail, which users:"}, "service", "gate", "agent")
	if !strings.Contains(h.read(t, h.gateOf("agent.service")), "\nRestart=on-failure\n") {
		t.Errorf("wrote:\n%s", h.read(t, h.gateOf("agent.service")))
	}

	h.write(t, filepath.Join(h.lib, "units"), "actions.runner.acme-api.m1.service enabled enabled\nactions.runner.acme-web.m1.service disabled enabled\n")
	h.must(t, 0, []string{"acme-api", "acme-web"}, "service", "gate", "actions.runner.*")
	if asked := h.asked(t); !strings.Contains(asked, "list-unit-files --no-legend --type=service -- actions.runner.*.service\n") {
		t.Errorf("systemctl was asked:\n%s", asked)
	}
	h.write(t, filepath.Join(h.lib, "units"), "")
	h.must(t, 1, []string{"no unit has a name like", "next:"}, "service", "gate", "actions.runner.*")
	h.must(t, 1, []string{"is not the name of a service unit", "next:"}, "service", "gate", "../../x")
	h.must(t, 2, []string{"see deploykeyd service gate --help"}, "service", "gate")
}

// A gate asks as root, whatever the agent's own environment is.
func TestGateAsksTheDaemonAlone(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	pre := regexp.MustCompile(`(?m)^ExecStartPre=\+` + installedProgram + ` (.*)$`).FindStringSubmatch(string(systemd.Gate(installedProgram)))
	if pre == nil {
		t.Fatal("the gate runs nothing")
	}
	h.must(t, 4, []string{"not ready after 2s"}, strings.Fields(pre[1])...)
}

func TestServiceReset(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	dirs := []string{"--config", h.config, "--run-dir", h.runDir(), "--state-dir", h.stateDir()}
	reset := func(more ...string) []string { return append(append([]string{"service", "reset"}, more...), dirs...) }
	h.write(t, filepath.Join(h.etc, "deploykeyd", "credentials", "gitea"), "x")
	h.must(t, 0, nil, "ssh-config", "--write", "--config", h.config)
	snippet := filepath.Join(h.etc, "ssh", "ssh_config.d", "50-deploykeyd.conf")
	if !strings.HasPrefix(h.read(t, snippet), "# Written by deploykeyd ssh-config") {
		t.Fatal("a reset would not know what ssh-config wrote")
	}

	d := h.start(t)
	d.ready(t)
	h.must(t, 1, []string{"the daemon runs", "systemctl stop"}, reset("--abandon")...)
	d.signal(t, syscall.SIGKILL)
	d.exit(t)
	before := h.read(t, h.journal())
	h.must(t, 3, []string{"nothing was removed", "8 keys may remain", "deploykeyd revoke"}, reset()...)
	if h.read(t, h.journal()) != before || len(h.keys()) == 0 {
		t.Error("something was changed")
	}
	h.read(t, snippet)

	if code, _, stderr := h.site.do(t, "revoke"); code != 0 {
		t.Fatal(stderr)
	}
	h.write(t, filepath.Join(h.stateDir(), "precious"), "")
	h.must(t, 0, []string{"removed", "credentials holds gitea", "names this machine m1"}, reset()...)
	for _, path := range []string{h.journal(), snippet, filepath.Join(h.etc, "ssh", "deploykeyd_known_hosts"), h.agentSocket()} {
		if _, err := os.Lstat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%s is still there: %v", path, err)
		}
	}
	for _, path := range []string{h.config, filepath.Join(h.stateDir(), "precious"), filepath.Join(h.etc, "deploykeyd", "credentials", "gitea")} {
		h.read(t, path)
	}
}

func TestServiceResetAbandons(t *testing.T) {
	t.Parallel()
	h := newHost(t)
	d := h.start(t)
	d.ready(t)
	d.signal(t, syscall.SIGKILL)
	d.exit(t)
	h.must(t, 0, []string{"forgotten: 8 keys"}, "service", "reset", "--abandon", "--config", h.config, "--run-dir", h.runDir(), "--state-dir", h.stateDir())
	if _, err := os.Stat(h.journal()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the journal is still there: %v", err)
	}
}

// The unit that systemd is about to start again counts as running.
func TestServiceResetLooksAtTheUnit(t *testing.T) {
	t.Parallel()
	h := newHost(t).boot(t)
	h.write(t, filepath.Join(h.lib, "show"), "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\n")
	h.must(t, 1, []string{"auto-restart", "systemctl stop"}, "service", "reset")
}

func TestServiceUninstall(t *testing.T) {
	t.Parallel()
	h := newHost(t).boot(t)
	dirs := []string{"--config", h.config, "--run-dir", h.runDir(), "--state-dir", h.stateDir()}
	h.must(t, 0, nil, "service", "install")
	h.must(t, 0, nil, "service", "gate", "agent")
	d := h.start(t)
	d.ready(t)
	d.signal(t, syscall.SIGKILL)
	d.exit(t)

	token := filepath.Join(h.dir, "gitea.token")
	secret := h.read(t, token)
	if err := os.WriteFile(token, []byte("wrong\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.must(t, 3, []string{"may remain on a forge"}, append([]string{"service", "uninstall"}, dirs...)...)
	h.read(t, h.unit())
	h.read(t, h.journal())

	if err := os.WriteFile(token, []byte(secret), 0o600); err != nil {
		t.Fatal(err)
	}
	h.asked(t)
	h.must(t, 0, []string{"stopped", "no key of this machine is on any forge", "disabled and removed", "removed /etc/systemd/system/agent.service.d/"},
		append([]string{"service", "uninstall"}, dirs...)...)
	if _, err := os.Stat(h.unit()); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the unit is still there: %v", err)
	}
	if _, err := os.Stat(h.gateOf("agent.service")); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the gate is still there: %v", err)
	}
	if keys := h.keys(); len(keys) != 0 {
		t.Errorf("keys: %v", keys)
	}
	if asked := h.asked(t); !strings.Contains(asked, "stop deploykeyd.service\ndisable deploykeyd.service\ndaemon-reload\n") {
		t.Errorf("systemctl was asked:\n%s", asked)
	}
	h.read(t, h.config)
	h.must(t, 0, []string{"there is no /etc/systemd/system/deploykeyd.service"}, append([]string{"service", "uninstall"}, dirs...)...)
}

func TestServiceStopTellsWhatRemains(t *testing.T) {
	t.Parallel()
	h := newHost(t).boot(t)
	dirs := []string{"--config", h.config, "--run-dir", h.runDir(), "--state-dir", h.stateDir()}
	h.must(t, 0, []string{"no key of this machine is on any forge"}, append([]string{"service", "stop"}, dirs...)...)
	d := h.start(t)
	d.ready(t)
	d.signal(t, syscall.SIGKILL)
	d.exit(t)
	h.must(t, 3, []string{"8 keys may remain"}, append([]string{"service", "stop"}, dirs...)...)
	h.write(t, filepath.Join(h.lib, "stop-fails"), "")
	h.must(t, 1, []string{"stop deploykeyd.service", "next:"}, append([]string{"service", "stop"}, dirs...)...)
}

func TestServiceStatus(t *testing.T) {
	t.Parallel()
	h := newHost(t).boot(t)
	h.must(t, 1, []string{"is not installed", "service install"}, "service", "status")
	for text, want := range map[string]struct {
		status int
		words  string
	}{
		"LoadState=loaded\nActiveState=active\nSubState=running\nUnitFileState=enabled\n": {0, "active (running)"},
		"LoadState=loaded\nActiveState=inactive\nSubState=dead\n":                         {1, "service start"},
		"LoadState=loaded\nActiveState=failed\nResult=exit-code\nExecMainStatus=3\n":      {1, "exit status 3"},
	} {
		h.write(t, filepath.Join(h.lib, "show"), text)
		h.must(t, want.status, []string{want.words}, "service", "status")
	}
}
