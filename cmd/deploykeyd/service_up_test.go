package main_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"deploykeyd/provision"
)

// starts lets "systemctl start" start the daemon for real.
func (h *host) starts(t *testing.T) {
	t.Helper()
	h.write(t, filepath.Join(h.lib, "start"), `exec /usr/local/bin/deploykeyd run`)
}

func TestUp(t *testing.T) {
	t.Parallel()
	h := newHost(t).boot(t)
	h.starts(t)
	h.must(t, 0, []string{"is valid", "wrote and enabled", "starting deploykeyd.service", "ready"}, "up", "--timeout", "50s")
	asked := h.asked(t)
	for _, want := range []string{"enable deploykeyd.service\n", "start --no-block deploykeyd.service\n"} {
		if !strings.Contains(asked, want) {
			t.Errorf("systemctl was not asked %q:\n%s", want, asked)
		}
	}
	if log := h.read(t, filepath.Join(h.lib, "daemon.log")); !strings.Contains(log, "ready") {
		t.Errorf("the daemon's log:\n%s", log)
	}
}

func TestUpLeavesARunningServiceAlone(t *testing.T) {
	t.Parallel()
	h := newHost(t).boot(t)
	for text, words := range map[string]string{
		"ActiveState=active\nSubState=running\n":                                         "systemctl reload deploykeyd",
		"ActiveState=activating\nSubState=auto-restart\nResult=signal\n":                 "tries it again",
		"ActiveState=reloading\nSubState=reload\n":                                       "is left so",
		"ActiveState=active\nSubState=running\nUnitFileState=disabled\nResult=success\n": "enabled deploykeyd.service",
	} {
		if !strings.Contains(text, "UnitFileState") {
			text += "UnitFileState=enabled\n"
		}
		h.write(t, filepath.Join(h.lib, "show"), "LoadState=loaded\n"+text)
		h.must(t, 4, []string{words, "not ready after 4s"}, "up", "--timeout", "4s")
		if asked := h.asked(t); strings.Contains(asked, "start --no-block") {
			t.Errorf("%s: systemctl was asked:\n%s", text, asked)
		}
	}
	// One that is just being stopped has to be started.
	h.write(t, filepath.Join(h.lib, "show"), "LoadState=loaded\nActiveState=deactivating\nSubState=stop-sigterm\nUnitFileState=enabled\n")
	h.must(t, 4, []string{"starting deploykeyd.service"}, "up", "--timeout", "4s")
}

func TestUpChecksTheConfigurationFirst(t *testing.T) {
	t.Parallel()
	h := newHost(t).boot(t)
	text := h.read(t, h.etcConfig())
	h.write(t, h.etcConfig(), strings.Replace(text, "kind: github", "kind: githab", 1)+"more: no\n")
	h.must(t, 2, []string{"githab", "more"}, "up")
	// Of the credentials, those that root hands to the unit.
	token := filepath.Join(h.dir, "gitea.token")
	h.write(t, h.etcConfig(), strings.Replace(text, "{file: "+token+"}", "{systemd: gitea}", 1))
	h.must(t, 2, []string{"/etc/deploykeyd/credentials/gitea", "token: [redacted]"}, "up")
	if asked := h.asked(t); asked != "" {
		t.Errorf("systemctl was asked:\n%s", asked)
	}
	h.write(t, filepath.Join(h.etc, "deploykeyd", "credentials", "gitea"), h.read(t, token))
	if err := os.Chmod(filepath.Join(h.etc, "deploykeyd", "credentials", "gitea"), 0o600); err != nil {
		t.Fatal(err)
	}
	h.must(t, 4, []string{"is valid"}, "up", "--timeout", "4s")
}

func TestUpNotReadyInTime(t *testing.T) {
	t.Parallel()
	h := newHost(t).boot(t)
	h.starts(t)
	url := h.sim.Forge(provision.Gitea).URL()
	h.write(t, h.etcConfig(), strings.Replace(h.read(t, h.etcConfig()), url, "http://127.0.0.1:1", 1)) // nobody is there
	h.write(t, filepath.Join(h.lib, "show"), "LoadState=loaded\nActiveState=inactive\nSubState=dead\nUnitFileState=enabled\nResult=success\n")
	_, stderr := h.must(t, 4, []string{"not ready after 12s", "acme/api on gitea is", "goes on trying"}, "up", "--timeout", "12s")
	if !strings.Contains(stderr, "next:") {
		t.Error(stderr)
	}
}

// A service that refuses its configuration over and over is told of before the
// time is over.
func TestUpTellsOfAServiceThatDoesNotStart(t *testing.T) {
	t.Parallel()
	h := newHost(t).boot(t)
	const again = "LoadState=loaded\nActiveState=activating\nSubState=auto-restart\nUnitFileState=enabled\nResult=exit-code\nExecMainStatus="
	h.write(t, filepath.Join(h.lib, "show"), again+"2\n")
	began := time.Now()
	h.must(t, 2, []string{"exit status 2", "the last words of", "_SYSTEMD_UNIT=deploykeyd.service", "next:"}, "up", "--timeout", "50s")
	if took := time.Since(began); took > 40*time.Second {
		t.Errorf("it took %v", took)
	}
	h.write(t, filepath.Join(h.lib, "show"), again+"1\n")
	h.must(t, 4, []string{"its last run ended with exit status 1", "the last words of"}, "up", "--timeout", "4s")
	h.write(t, filepath.Join(h.lib, "show"), "LoadState=masked\nActiveState=inactive\n")
	h.must(t, 1, []string{"is masked", "systemctl unmask"}, "up")
}

// A service manager that hangs does not hang the end of the boot.
func TestUpNeverHangs(t *testing.T) {
	t.Parallel()
	for _, call := range []string{"show", "enable", "start"} {
		h := newHost(t).boot(t)
		h.write(t, filepath.Join(h.lib, "hang-"+call), "")
		began := time.Now()
		h.must(t, 1, []string{"deadline exceeded", "next:"}, "up", "--timeout", "2s")
		if took := time.Since(began); took > 20*time.Second { // each call of systemctl alone may take 30
			t.Errorf("%s: it took %v", call, took)
		}
	}
}
