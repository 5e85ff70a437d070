package verify_test

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
	"deploykeyd/provision/hostkey"
	"deploykeyd/provision/verify"
)

func portOf(a provision.SSHAddress) string { return strconv.Itoa(a.Port) }

// wantClass checks an error's class, that it says what it is about and, where
// next is given, what to do.
func wantClass(t *testing.T, err error, want provision.Class, message, next string) {
	t.Helper()
	e, ok := errors.AsType[*provision.Error](err)
	if !ok {
		t.Fatalf("error is %#v", err)
	}
	if e.Class != want || e.Op != "verify" || e.Forge != "forge" || e.Target.Path == "" {
		t.Errorf("error is %+v, want class %s", e, want)
	}
	if !strings.Contains(e.Message, message) {
		t.Errorf("message is %q, want %q in it", e.Message, message)
	}
	if !strings.Contains(e.Next, next) || e.Next == "" {
		t.Errorf("next step is %q, want %q in it", e.Next, next)
	}
	if strings.ContainsAny(e.Error(), "\n\r\x1b") || len(e.Error()) > 700 {
		t.Errorf("error is not one clean line: %q", e.Error())
	}
}

// TestG4ReadWithThatVeryKey is the proof on each kind of forge, and its
// counterpart: the same key is refused elsewhere.
func TestG4ReadWithThatVeryKey(t *testing.T) {
	for kind, refusal := range map[provision.Kind]struct {
		other, missing               provision.Class
		otherMessage, missingMessage string
	}{
		provision.Gitea:          {provision.Denied, provision.NotFound, "is not authorized to read", "Cannot find repository"},
		provision.GitHub:         {provision.NotFound, provision.NotFound, "Repository not found", "Repository not found"},
		provision.BitbucketCloud: {provision.Denied, provision.Denied, "repository access denied", "repository access denied"},
	} {
		t.Run(string(kind), func(t *testing.T) {
			f, s := start(t, kind, forgesim.RepositoryOptions{}), newAgent(t)
			if err := f.AddRepository("acme/other", forgesim.RepositoryOptions{}); err != nil {
				t.Fatal(err)
			}
			f.AddKey("acme/app", "t", s.public, provision.Read)
			result, err := prove(t, verify.Options{}, request(t, f, s))
			if err != nil {
				t.Fatal(err)
			}
			if result.Bytes == 0 || result.Duration <= 0 || result.Note != "" {
				t.Errorf("result is %+v", result)
			}
			if s.count() != 2 {
				t.Errorf("%d signatures, want one for each git command", s.count())
			}
			for _, refused := range []struct {
				repository provision.Repository
				class      provision.Class
				message    string
			}{{"acme/other", refusal.other, refusal.otherMessage}, {"acme/nosuch", refusal.missing, refusal.missingMessage}} {
				r := request(t, f, s)
				r.Repository = refused.repository
				before := len(f.Commands())
				_, err := prove(t, verify.Options{}, r)
				wantClass(t, err, refused.class, refused.message, "deploy keys")
				if n := len(f.Commands()) - before; n != 1 {
					t.Errorf("asked %d times after a refusal that waiting cannot change", n)
				}
			}
		})
	}
}

func TestEmptyRepositoryCounts(t *testing.T) {
	f, s := start(t, provision.Gitea, forgesim.RepositoryOptions{Empty: true}), newAgent(t)
	f.AddKey("acme/app", "t", s.public, provision.Read)
	result, err := prove(t, verify.Options{}, request(t, f, s))
	if err != nil || result.Note != "empty repository" {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestKeyThatIsTakenUpLate(t *testing.T) {
	f, s := start(t, provision.Gitea, forgesim.RepositoryOptions{}), newAgent(t)
	f.AddKey("acme/app", "t", s.public, provision.Read)
	f.Inject(forgesim.Fault{Name: forgesim.DelayedSSH, Delay: 1500 * time.Millisecond})
	result, err := prove(t, verify.Options{}, request(t, f, s))
	if err != nil || result.Duration < time.Second {
		t.Errorf("%+v, %v", result, err)
	}
}

func TestKeyThatIsNeverTakenUp(t *testing.T) {
	f, s := start(t, provision.Gitea, forgesim.RepositoryOptions{}), newAgent(t)
	_, err := prove(t, verify.Options{TakeUp: time.Second}, request(t, f, s))
	wantClass(t, err, provision.Transient, "not known to the SSH server yet", "deploy keys of acme/app")
	if s.count() != 0 {
		t.Error("a key that the server does not know was used")
	}
}

func TestHostKeyThatIsNotPinned(t *testing.T) {
	f, s := start(t, provision.Gitea, forgesim.RepositoryOptions{}), newAgent(t)
	f.AddKey("acme/app", "t", s.public, provision.Read)
	r := request(t, f, s)
	r.Host.Pins = []hostkey.Pin{{Key: s.public}} // some other ed25519 key
	_, err := prove(t, verify.Options{}, r)
	wantClass(t, err, provision.Invalid, "not one of the pinned ones", "host_keys: of forge forge")
	if s.count() != 0 {
		t.Error("the key was used with a server that is not the forge")
	}
}

func TestGitThatGetsInWithoutTheKey(t *testing.T) {
	f, s := start(t, provision.Gitea, forgesim.RepositoryOptions{}), newAgent(t)
	f.AddKey("acme/app", "t", s.public, provision.Read)
	r := request(t, f, s)
	r.Signed = func() int { return 7 }
	_, err := prove(t, verify.Options{}, r)
	wantClass(t, err, provision.Invalid, "without the key under test", "ssh: address")
}

// largeFiles are about 6 MB that do not compress.
func largeFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{}
	for n := range 4 {
		b := make([]byte, 3<<19)
		if _, err := rand.Read(b); err != nil {
			t.Fatal(err)
		}
		files["blob"+strconv.Itoa(n)] = base64.StdEncoding.EncodeToString(b)
	}
	return files
}

// noFilter makes a repository's server send whole trees, as some forges do.
func noFilter(t *testing.T, f *forgesim.Forge) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "-C", f.GitDir("acme/app"), "config", "uploadpack.allowFilter", "false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

func TestHugeRepositoryIsCutAndCounts(t *testing.T) {
	f, s := start(t, provision.Gitea, forgesim.RepositoryOptions{Files: largeFiles(t)}), newAgent(t)
	f.AddKey("acme/app", "t", s.public, provision.Read)
	result, err := prove(t, verify.Options{}, request(t, f, s))
	if err != nil || result.Bytes > 100_000 {
		t.Errorf("with a filter: %+v, %v", result, err)
	}
	noFilter(t, f)
	result, err = prove(t, verify.Options{}, request(t, f, s))
	if err != nil || result.Bytes < 6<<20 || result.Note != "" {
		t.Errorf("without a filter: %+v, %v", result, err)
	}

	// The relay stops in the middle of the pack, so that the clone can only end
	// by a limit: that of bytes, then that of time.
	stalled := request(t, f, s)
	stalled.Host.SSH = relay(t, stalled.Host.SSH, 3<<20)
	result, err = prove(t, verify.Options{MaxBytes: 1 << 20}, stalled)
	if err != nil || result.Bytes < 1<<20 || !strings.HasPrefix(result.Note, "cut at ") || result.Duration > 20*time.Second {
		t.Errorf("cut by size: %+v, %v", result, err)
	}
	result, err = prove(t, within(3*time.Second), stalled)
	if err != nil || result.Bytes < 1<<20 || !strings.HasPrefix(result.Note, "cut at ") {
		t.Errorf("cut by time: %+v, %v", result, err)
	}

	// A cut proves nothing when the key had no part in it.
	stalled.Signed = func() int { return 0 }
	_, err = prove(t, within(3*time.Second), stalled)
	wantClass(t, err, provision.Invalid, "without the key under test", "")
}

func TestServerThatSaysNothing(t *testing.T) {
	f, s := start(t, provision.Gitea, forgesim.RepositoryOptions{}), newAgent(t)
	f.AddKey("acme/app", "t", s.public, provision.Read)

	remove := f.Inject(forgesim.Fault{Name: forgesim.HoldReply, Op: forgesim.OpSSH})
	_, err := prove(t, within(time.Second), request(t, f, s))
	wantClass(t, err, provision.Transient, "no answer in time", "reaches ssh://git@127.0.0.1:")
	remove()

	mute := request(t, f, s)
	mute.Host.SSH = relay(t, mute.Host.SSH, 0)
	_, err = prove(t, within(time.Second), mute)
	wantClass(t, err, provision.Transient, "no answer in time", "reaches")

	f.Inject(forgesim.Fault{Name: forgesim.CutBefore, Op: forgesim.OpSSH})
	_, err = prove(t, verify.Options{}, request(t, f, s))
	wantClass(t, err, provision.Transient, "", "reaches")
}

func TestNobodyThere(t *testing.T) {
	f, s := start(t, provision.Gitea, forgesim.RepositoryOptions{}), newAgent(t)
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := request(t, f, s)
	r.Host.SSH.Host, r.Host.SSH.Port = "127.0.0.1", l.Addr().(*net.TCPAddr).Port
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	_, err = prove(t, verify.Options{}, r)
	wantClass(t, err, provision.Transient, "Connection refused", "git ls-remote ssh://git@127.0.0.1:")

	// No resolver sends out a question about a label of more than 63 bytes.
	r.Host.SSH.Host = strings.Repeat("x", 70) + ".test"
	_, err = prove(t, verify.Options{}, r)
	wantClass(t, err, provision.Transient, "resolve hostname xxx", "")
}

func TestCancelledProofEndsAtOnceWithItsProcesses(t *testing.T) {
	f, s := start(t, provision.Gitea, forgesim.RepositoryOptions{}), newAgent(t)
	f.AddKey("acme/app", "t", s.public, provision.Read)
	connected := make(chan struct{})
	var once sync.Once
	r := request(t, f, s)
	at := serve(t, "tcp", "127.0.0.1:0", func(net.Conn) {
		once.Do(func() { close(connected) })
		<-t.Context().Done()
	})
	r.Host.SSH.Host, r.Host.SSH.Port = "127.0.0.1", at.(*net.TCPAddr).Port
	p, err := verify.New(verify.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-connected
		cancel()
	}()
	begin := time.Now()
	_, err = p.Prove(ctx, r)
	if !errors.Is(err, context.Canceled) || provision.ClassOf(err) != provision.Transient {
		t.Errorf("error is %v", err)
	}
	if took := time.Since(begin); took > 4*time.Second {
		t.Errorf("took %v", took)
	}
	if left := mentioning(t, portOf(r.Host.SSH)); len(left) > 0 {
		t.Errorf("still running: %v", left)
	}
}

// mentioning returns the command lines of processes, zombies included, that
// have word among their arguments.
func mentioning(t *testing.T, word string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil || len(files) == 0 {
		t.Fatalf("no processes: %v", err)
	}
	var found []string
	for _, f := range files {
		line, _ := os.ReadFile(f)
		if words := strings.ReplaceAll(string(line), "\x00", " "); strings.Contains(words, word) {
			found = append(found, words)
		}
	}
	return found
}

func TestProofsAtTheSameTime(t *testing.T) {
	f, s := start(t, provision.Gitea, forgesim.RepositoryOptions{}), newAgent(t)
	f.AddKey("acme/app", "t", s.public, provision.Read)
	p, err := verify.New(verify.Options{Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for range 6 {
		wg.Go(func() {
			if _, err := p.Prove(t.Context(), request(t, f, s)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// TestCallersSurroundingsDoNotMatter plants what would break or falsify a proof.
func TestCallersSurroundingsDoNotMatter(t *testing.T) {
	f, s := start(t, provision.Gitea, forgesim.RepositoryOptions{}), newAgent(t)
	f.AddKey("acme/app", "t", s.public, provision.Read)
	home := t.TempDir()
	if err := os.WriteFile(filepath.Join(home, ".gitconfig"), []byte("[core]\n\tsshCommand = false\n[url \"ssh://x/\"]\n\tinsteadOf = ssh://\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, value := range map[string]string{
		"HOME": home, "GIT_SSH_COMMAND": "false", "GIT_SSH": "false", "GIT_DIR": home, "SSH_AUTH_SOCK": "/dev/null",
		"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "protocol.ssh.allow", "GIT_CONFIG_VALUE_0": "never",
		"GIT_TRACE": filepath.Join(home, "trace"), "LANG": "de_DE.UTF-8",
	} {
		t.Setenv(name, value)
	}
	if _, err := prove(t, verify.Options{}, request(t, f, s)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(filepath.Join(home, "trace")); err == nil {
		t.Error("git traced into the caller's file")
	}
}

func TestRequestsThatCannotBeRun(t *testing.T) {
	f, s := start(t, provision.Gitea, forgesim.RepositoryOptions{}), newAgent(t)
	for name, spoil := range map[string]func(*verify.Request){
		"option as repository": func(r *verify.Request) { r.Repository = "--upload-pack=id/x" },
		"no repository":        func(r *verify.Request) { r.Repository = "acme" },
		"newline in the host":  func(r *verify.Request) { r.Host.SSH.Host = "a\nProxyCommand id" },
		"no pin":               func(r *verify.Request) { r.Host.Pins = nil },
		"relative socket":      func(r *verify.Request) { r.AgentSocket = "agent.sock" },
	} {
		t.Run(name, func(t *testing.T) {
			r := request(t, f, s)
			spoil(&r)
			if _, err := prove(t, verify.Options{}, r); provision.ClassOf(err) != provision.Invalid {
				t.Errorf("error is %v", err)
			}
		})
	}
	if n := len(f.Commands()); n != 0 {
		t.Errorf("%d commands reached the forge", n)
	}
	if _, err := verify.New(verify.Options{Git: "no-such-git"}); err == nil || !strings.Contains(err.Error(), "install git") {
		t.Errorf("without git: %v", err)
	}
}
