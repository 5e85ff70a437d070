package main_test

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// host is a machine of its own for commands that work on /etc: a mount namespace
// with other folders in the place of /etc, /run, /var/lib, /usr/local/bin and
// /usr/local/lib, which outlive the command. In /usr/local/bin is the program and a
// stand-in for systemctl, which notes what it is asked and answers from files in
// /var/lib. The forges are the site's.
type host struct {
	*site
	etc, run, lib, bin, locallib string
}

// standIn is systemctl(1) as far as the program asks it. What is started is the
// script /var/lib/start, where there is one.
const standIn = `#!/bin/sh
while :; do case "$1" in --no-*) shift;; *) break;; esac; done
echo "$*" >>/var/lib/systemctl.log
if test -e "/var/lib/hang-$1"; then exec sleep 600; fi
case "$1" in
--version) echo "systemd ${SYSTEMD_VERSION:-252} (252)";;
list-unit-files) cat /var/lib/units 2>/dev/null || :;;
show)
  if test -e /var/lib/show; then cat /var/lib/show
  elif test -e /etc/systemd/system/deploykeyd.service; then echo LoadState=loaded; echo ActiveState=inactive; echo SubState=dead; echo UnitFileState=enabled
  else echo LoadState=not-found; echo ActiveState=inactive; fi;;
start) if test -e /var/lib/start; then setsid sh /var/lib/start >/var/lib/daemon.log 2>&1 & fi;;
stop) if test -e /var/lib/stop-fails; then echo "no" >&2; exit 1; fi;;
esac
`

const journalctlStandIn = "#!/bin/sh\necho the last words of $*\n"

// newHost is a host with the site's configuration at its usual place.
func newHost(t *testing.T) *host {
	t.Helper()
	h := &host{site: newSite(t)}
	for name, path := range map[string]*string{"etc": &h.etc, "run": &h.run, "lib": &h.lib, "bin": &h.bin, "locallib": &h.locallib} {
		*path = filepath.Join(h.dir, "host", name)
		if err := os.MkdirAll(*path, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	// What the C library and the account tools need of a machine.
	for _, name := range []string{"passwd", "group", "shadow", "gshadow", "nsswitch.conf", "hosts", "resolv.conf", "ld.so.cache", "login.defs", "machine-id"} {
		text, err := os.ReadFile(filepath.Join("/etc", name))
		if errors.Is(err, os.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		h.write(t, filepath.Join(h.etc, name), string(text))
	}
	h.executable(t, filepath.Join(h.bin, "systemctl"), standIn)
	h.executable(t, filepath.Join(h.bin, "journalctl"), journalctlStandIn)
	h.executable(t, filepath.Join(h.bin, "deploykeyd"), "") // the program is mounted over it
	text, err := os.ReadFile(h.config)
	if err != nil {
		t.Fatal(err)
	}
	h.write(t, h.etcConfig(), string(text))
	return h
}

func (h *host) etcConfig() string { return filepath.Join(h.etc, "deploykeyd", "deploykeyd.yaml") }
func (h *host) unit() string {
	return filepath.Join(h.etc, "systemd", "system", "deploykeyd.service")
}

func (h *host) gateOf(unit string) string {
	return filepath.Join(h.etc, "systemd", "system", unit+".d", "50-deploykeyd-gate.conf")
}

// boot lets systemd seem to run.
func (h *host) boot(t *testing.T) *host {
	t.Helper()
	if err := os.MkdirAll(filepath.Join(h.run, "systemd", "system"), 0o755); err != nil {
		t.Fatal(err)
	}
	return h
}

func (h *host) write(t *testing.T, path, text string) {
	t.Helper()
	if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

func (h *host) executable(t *testing.T, path, text string) {
	t.Helper()
	h.write(t, path, text)
	if err := os.Chmod(path, 0o755); err != nil {
		t.Fatal(err)
	}
}

func (h *host) read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// asked returns what systemctl was asked since the last call.
func (h *host) asked(t *testing.T) string {
	t.Helper()
	path := filepath.Join(h.lib, "systemctl.log")
	text, err := os.ReadFile(path)
	if err == nil {
		err = os.Remove(path)
	}
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	return string(text)
}

// do runs a command of deploykeyd on the host to its end. What it has started
// ends with it.
func (h *host) do(t *testing.T, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	const script = `mount --make-rprivate /
for pair in etc:/etc run:/run lib:/var/lib bin:/usr/local/bin locallib:/usr/local/lib; do mount --bind "$1/${pair%%:*}" "${pair#*:}"; done
mount --bind "$2" /usr/local/bin/deploykeyd
shift 2
exec /usr/local/bin/deploykeyd "$@"`
	program, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	all := append([]string{
		"--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-ec", script, "sh", filepath.Join(h.dir, "host"), program,
	}, args...)
	c := exec.CommandContext(ctx, "unshare", all...)
	c.Env = []string{"PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME=/", asProgram + "=1"}
	return finish(t, c)
}

// must runs a command that has to end with the given status and to say the words.
func (h *host) must(t *testing.T, want int, words []string, args ...string) (stdout, stderr string) {
	t.Helper()
	status, stdout, stderr := h.do(t, args...)
	if status != want {
		t.Errorf("deploykeyd %s: exit status %d, want %d\n%s%s", strings.Join(args, " "), status, want, stdout, stderr)
	}
	for _, w := range words {
		if !strings.Contains(stdout+stderr, w) {
			t.Errorf("deploykeyd %s does not say %q:\n%s%s", strings.Join(args, " "), w, stdout, stderr)
		}
	}
	return stdout, stderr
}
