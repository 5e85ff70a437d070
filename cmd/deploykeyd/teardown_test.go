package main_test

import (
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

const teardown = "../../packaging/teardown"

// hooks is a folder with stand-ins for what the scripts of packaging/teardown
// run. Each writes what it was asked into calls.
type hooks struct{ dir string }

func newHooks(t *testing.T, revokeStatus int) hooks {
	t.Helper()
	h := hooks{t.TempDir()}
	h.put(t, "deploykeyd", fmt.Sprintf(`echo "deploykeyd $*" >>"$CALLS"
[ "$1" != revoke ] || {
	[ %[1]d = 0 ] && echo "no key of this machine is on any forge" || echo "deploykeyd: 1 key may remain on a forge: SHA256:abc" >&2
	exit %[1]d
}`, revokeStatus))
	h.put(t, "sudo", `[ "$1" = -n ] && shift && exec "$@"`)
	h.put(t, "ssh", `while [ "$1" != -- ]; do shift; done; echo "ssh $2" >>"$CALLS"; [ "$2" != admin@gone ] || exit 255; shift 2; exec sh -c "$*"`)
	for _, program := range []string{"systemctl", "cloud-init", "find", "aws"} {
		h.put(t, program, `echo "`+program+` $*" >>"$CALLS"; [ ! -e "$CALLS.no-`+program+`" ]`)
	}
	return h
}

func (h hooks) put(t *testing.T, name, script string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, name), []byte("#!/bin/sh\n"+script+"\n"), 0o700); err != nil {
		t.Fatal(err)
	}
}

// breaks makes a stand-in fail.
func (h hooks) breaks(t *testing.T, name string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(h.dir, "calls.no-"+name), nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

// run runs a script of packaging/teardown.
func (h hooks) run(t *testing.T, env []string, script string, args ...string) (status int, stdout, stderr string) {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(teardown, script))
	if err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), path, args...)
	c.Dir = h.dir
	c.Env = append([]string{"PATH=" + h.dir + ":/usr/bin:/bin", "CALLS=" + filepath.Join(h.dir, "calls")}, env...)
	return finish(t, c)
}

func (h hooks) calls(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(h.dir, "calls"))
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return string(text)
}

// list is what is kept for a machine whose keys may remain; "" is none.
func (h hooks) list(t *testing.T, host string) string {
	t.Helper()
	path := filepath.Join(h.dir, host+".keys-remain")
	text, err := os.ReadFile(path)
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	if info, err := os.Stat(path); err == nil && info.Mode() != 0o600 {
		t.Errorf("the list has the mode %v", info.Mode())
	}
	return string(text)
}

func TestTeardownScriptsAreShell(t *testing.T) {
	t.Parallel()
	n := 0
	err := filepath.WalkDir(teardown, func(path string, _ fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".sh" {
			return err
		}
		n++
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if !strings.HasPrefix(string(text), "#!/bin/sh\n") || !strings.Contains(string(text), "\nset -eu\n") {
			t.Errorf("%s goes on after what fails", path)
		}
		if status, _, stderr := finish(t, exec.CommandContext(t.Context(), "sh", "-n", path)); status != 0 {
			t.Errorf("%s: %s", path, stderr)
		}
		return nil
	})
	if err != nil || n != 5 {
		t.Errorf("%d scripts: %v", n, err)
	}
}

// The status of a revocation is passed on, and its list kept until one ends well.
func TestRevokeOverSSH(t *testing.T) {
	t.Parallel()
	for _, status := range []int{0, 1, 2, 3} {
		h := newHooks(t, status)
		got, stdout, stderr := h.run(t, nil, "revoke-over-ssh.sh", "admin@ci-1", "20s")
		if got != status || h.calls(t) != "ssh admin@ci-1\ndeploykeyd revoke --timeout 20s\n" {
			t.Errorf("exit status %d instead of %d: %s%s%s", got, status, stdout, stderr, h.calls(t))
		}
		if kept := strings.Contains(h.list(t, "ci-1"), "SHA256:abc"); kept != (status != 0) {
			t.Errorf("exit status %d: a list is kept: %v", status, kept)
		}
		if told := strings.Contains(stderr, "SHA256:abc") && strings.Contains(stderr, "ci-1.keys-remain"); told != (status != 0) {
			t.Errorf("exit status %d: %s", status, stderr)
		}
		h.put(t, "deploykeyd", "echo no key")
		if got, _, stderr := h.run(t, nil, "revoke-over-ssh.sh", "admin@ci-1"); got != 0 || h.list(t, "ci-1") != "" {
			t.Errorf("once it ends well: exit status %d, list %q: %s", got, h.list(t, "ci-1"), stderr)
		}
	}
}

func TestRevokeOverSSHRefuses(t *testing.T) {
	t.Parallel()
	h := newHooks(t, 0)
	if status, _, stderr := h.run(t, nil, "revoke-over-ssh.sh", "admin@gone"); status != 255 || !strings.Contains(stderr, "may remain") || h.list(t, "gone") == "" {
		t.Errorf("a machine that is gone: exit status %d: %s", status, stderr)
	}
	for _, args := range [][]string{nil, {""}, {"-oProxyCommand=id"}, {"ci-1; id"}, {"ci-1", "20s; id"}, {"../ci-1"}} {
		if status, _, stderr := h.run(t, nil, "revoke-over-ssh.sh", args...); status != 2 || !strings.Contains(stderr, "usage:") {
			t.Errorf("%q: exit status %d: %s", args, status, stderr)
		}
	}
	if calls := h.calls(t); calls != "ssh admin@gone\n" {
		t.Errorf("run: %s", calls)
	}
}

// jenkins is a stand-in for a controller with one node.
type jenkins struct {
	mu      sync.Mutex
	offline bool
	busy    bool
	down    bool
	did     []string
}

func (j *jenkins) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	j.mu.Lock()
	defer j.mu.Unlock()
	name, token, _ := r.BasicAuth()
	switch {
	case j.down:
		w.WriteHeader(http.StatusServiceUnavailable)
	case name != "ci" || token != "api-token":
		w.WriteHeader(http.StatusUnauthorized)
	case r.Method+" "+r.URL.Path == "GET /computer/agent-1/api/json":
		_, _ = fmt.Fprintf(w, `{"_class":"hudson.slaves.SlaveComputer","idle":%v,"temporarilyOffline":%v}`, !j.busy, j.offline)
	case r.Method+" "+r.URL.Path == "POST /computer/agent-1/toggleOffline":
		j.offline = !j.offline
		j.did = append(j.did, fmt.Sprintf("offline: %v", j.offline))
	case r.Method+" "+r.URL.Path == "POST /computer/agent-1/doDelete":
		j.did = append(j.did, "deleted")
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

func TestJenkinsAgentIsRemovedAfterItsKeys(t *testing.T) {
	t.Parallel()
	const took, deleted = "offline: true", "deleted"
	for name, c := range map[string]struct {
		jenkins *jenkins
		revoke  int
		wait    string
		status  int
		did     string
		revoked bool
	}{
		"all well":             {&jenkins{}, 0, "900", 0, took + " " + deleted, true},
		"offline already":      {&jenkins{offline: true}, 0, "900", 0, deleted, true},
		"keys may remain":      {&jenkins{}, 3, "900", 3, took, true},
		"it builds on":         {&jenkins{busy: true}, 0, "0", 1, took, false},
		"Jenkins is away":      {&jenkins{down: true}, 0, "900", 22, "", false},
		"no number of seconds": {&jenkins{}, 0, "long", 2, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h := newHooks(t, c.revoke)
			server := httptest.NewServer(c.jenkins)
			defer server.Close()
			config := filepath.Join(h.dir, "curl.conf")
			if err := os.WriteFile(config, []byte("user = \"ci:api-token\"\n"), 0o600); err != nil {
				t.Fatal(err)
			}
			status, stdout, stderr := h.run(t, []string{"JENKINS_URL=" + server.URL, "JENKINS_CURL_CONFIG=" + config},
				"jenkins-remove-agent.sh", "agent-1", "admin@ci-1", c.wait)
			if status != c.status {
				t.Errorf("exit status %d: %s%s", status, stdout, stderr)
			}
			if did := strings.Join(c.jenkins.did, " "); did != c.did {
				t.Errorf("Jenkins did %q", did)
			}
			if revoked := strings.Contains(h.calls(t), "deploykeyd revoke"); revoked != c.revoked {
				t.Errorf("revoked: %v", revoked)
			}
			if kept := h.list(t, "ci-1") != ""; kept != (c.status == 3) {
				t.Errorf("a list is kept: %v", kept)
			}
		})
	}
}

func TestBambooAgentIsStoppedBeforeTheKeysGo(t *testing.T) {
	t.Parallel()
	const stop = "ssh admin@ci-1\nsystemctl stop bamboo-agent.service\n"
	for _, status := range []int{0, 3} {
		h := newHooks(t, status)
		got, _, stderr := h.run(t, nil, "bamboo-remove-agent.sh", "admin@ci-1")
		if got != status || h.calls(t) != stop+"ssh admin@ci-1\ndeploykeyd revoke --timeout 60s\n" {
			t.Errorf("exit status %d: %s%s", got, stderr, h.calls(t))
		}
		if kept := h.list(t, "ci-1") != ""; kept != (status == 3) {
			t.Errorf("a list is kept: %v", kept)
		}
	}
	h := newHooks(t, 0)
	h.breaks(t, "systemctl")
	if status, _, _ := h.run(t, nil, "bamboo-remove-agent.sh", "admin@ci-1"); status == 0 || h.calls(t) != stop {
		t.Errorf("an agent that does not stop: exit status %d: %s", status, h.calls(t))
	}
}

// An image is not made of a machine whose keys may remain.
func TestSealedImageHasNoKeys(t *testing.T) {
	t.Parallel()
	const settled = "systemctl is-active --quiet deploykeyd.service\nsystemctl stop deploykeyd.service\ndeploykeyd revoke --timeout 60s\n"
	for _, status := range []int{0, 3} {
		h := newHooks(t, status)
		want := settled
		if status == 0 {
			want += "deploykeyd service reset\nfind /etc/deploykeyd/credentials -mindepth 1 -delete\ncloud-init clean --logs --machine-id\n"
		}
		got, _, stderr := h.run(t, nil, "packer/seal.sh")
		if got != status || h.calls(t) != want {
			t.Errorf("exit status %d: %s%s", got, stderr, h.calls(t))
		}
	}
}

// The group is told after a revocation that ended well, and of its own notice.
func TestLifecycleIsCompletedAfterTheRevocation(t *testing.T) {
	t.Parallel()
	const complete = "aws autoscaling complete-lifecycle-action --region eu-central-1 --instance-id i-0abc --auto-scaling-group-name builders " +
		"--lifecycle-hook-name deploykeyd --lifecycle-action-result CONTINUE\n"
	for _, c := range []struct{ code, status, state, want string }{
		{"exited", "0", "Terminated", complete},
		{"exited", "0", "InService", ""},
		{"exited", "0", "", ""},
		{"exited", "3", "Terminated", ""},
		{"killed", "TERM", "Terminated", ""},
		{"", "", "Terminated", ""},
	} {
		h := newHooks(t, 0)
		h.put(t, "curl", `
header=; for word; do
	case $word in http://169.254.169.254/latest/*) path=${word#http://169.254.169.254/latest/} ;; @-) header=$(cat) ;; esac
done
case $path in
api/token) echo session ;;
*) [ "$header" = "X-aws-ec2-metadata-token: session" ] || exit 22
	case $path in
	meta-data/autoscaling/target-lifecycle-state) [ -n "`+c.state+`" ] && echo "`+c.state+`" || exit 22 ;;
	meta-data/instance-id) echo i-0abc ;;
	meta-data/placement/region) echo eu-central-1 ;;
	*) exit 22 ;;
	esac ;;
esac`)
		env := []string{"DEPLOYKEYD_GROUP=builders", "MONITOR_EXIT_CODE=" + c.code, "MONITOR_EXIT_STATUS=" + c.status}
		status, _, stderr := h.run(t, env, "autoscaling/deploykeyd-complete-lifecycle.sh")
		if status != 0 || h.calls(t) != c.want {
			t.Errorf("%+v: exit status %d: %s%s", c, status, stderr, h.calls(t))
		}
	}
}

// The drop-in and the service beside it are what systemd takes.
func TestLifecycleUnits(t *testing.T) {
	t.Parallel()
	path := placed(t, preemptionUnit, "/usr/bin/deploykeyd")
	dir := filepath.Dir(path)
	dropIn := filepath.Join(path+".d", "autoscaling.conf")
	if err := os.Mkdir(filepath.Dir(dropIn), 0o700); err != nil {
		t.Fatal(err)
	}
	for from, to := range map[string]string{
		"deploykeyd-preemption.conf":            dropIn,
		"deploykeyd-complete-lifecycle.service": filepath.Join(dir, "deploykeyd-complete-lifecycle.service"),
	} {
		text, err := os.ReadFile(filepath.Join(teardown, "autoscaling", from))
		if err != nil {
			t.Fatal(err)
		}
		here := strings.ReplaceAll(string(text), "/usr/local/sbin/deploykeyd-complete-lifecycle.sh", "/bin/true")
		if err := os.WriteFile(to, []byte(here), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if status, said := analyze(t, "verify", "--man=no", path); status != 0 || said != "" {
		t.Errorf("exit status %d: %s", status, said)
	}
}
