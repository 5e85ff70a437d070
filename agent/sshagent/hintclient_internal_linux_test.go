package sshagent

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// OpenSSH itself says what it makes of its arguments.
func TestReadHintAgreesWithOpenSSH(t *testing.T) {
	for _, args := range [][]string{
		{"git@git.test"},
		{"git.test", "x"},
		{"-p", "2222", "git@git.test", "x"},
		{"-p2222", "git@git.test"},
		{"-4Tp", "2222", "git@git.test"},
		{"-46AaCfgKkMNnqsTtVvXxYyp2222", "git@git.test"}, // -G and -V apart
		{"git@git.test", "-p", "2222", "x"},
		{"git@git.test", "-p", "2222", "--", "-p", "22"},
		{"--", "git@git.test", "-p", "2222", "x"},
		{"-p", "2222", "--", "git@git.test"},
		{"-p", "2222", "-p", "22", "git@git.test"},
		{"-p", "2222", "git@git.test", "-p", "22"},
		{"ssh://git@git.test:2222"},
		{"ssh://git@git.test:2222/"},
		{"ssh://git.test", "-p", "2222"},
		{"-p", "2222", "ssh://git@git.test:22"},
		{"ssh://git@git.test:2222", "-p", "22"},
		{"git@::1"},
		{"a@b@git.test"},
		{"-l", "jo@b", "git.test"},
		{"-B", "lo", "-b", "::1", "-c", "aes128-ctr", "-D", "1", "-e", "none", "-I", "/x", "-i", "/x", "git@git.test"},
		{"-J", "a@b:22", "-L", "1:a:1", "-l", "a", "-m", "hmac-sha2-256", "-o", "SendEnv=X", "-R", "1:a:1", "git@git.test"},
		{"-S", "/x", "-w", "any", "-E", "/dev/null", "-p", "2222", "git@git.test"},
		{"-J", "a@b:22", "-p", "2222", "git@git.test"},
		{"-W", "git.test:22", "-p", "2222", "jump.test"},
	} {
		args := dropFlags(args)
		cmd := exec.CommandContext(t.Context(), "ssh", append([]string{"-G", "-F", "/dev/null"}, args...)...)
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
		var complaint strings.Builder
		cmd.Stderr = &complaint
		out, err := cmd.Output()
		if err != nil {
			t.Errorf("ssh %q: %v\n%s", args, err, complaint.String())
			continue
		}
		said := map[string]string{}
		for line := range strings.Lines(string(out)) {
			name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			said[name] = value
		}
		h := readHint(append([]string{"ssh"}, args...))
		if h.port == 0 {
			h.port = 22
		}
		if h.host != said["hostname"] || strconv.Itoa(h.port) != said["port"] {
			t.Errorf("%q was read as %s:%d, ssh goes to %s:%s", args, h.host, h.port, said["hostname"], said["port"])
		}
	}
}

// dropFlags takes out of a cluster what would have ssh do something else.
func dropFlags(args []string) []string {
	for i, a := range args {
		if strings.HasPrefix(a, "-46A") {
			args[i] = strings.NewReplacer("V", "", "f", "", "s", "").Replace(a)
		}
	}
	return args
}

// listeners are four TCP addresses, where nothing but a connection is awaited.
type listeners struct {
	names *strings.Replacer // of HOST, OTHER, PORT and WRONG
	host  string
	port  int
	met   chan net.Addr // one for each program
}

func listen(t *testing.T) *listeners {
	t.Helper()
	l := &listeners{met: make(chan net.Addr, 64), host: "127.0.0.2"}
	var ports [2]string
	for _, host := range []string{l.host, "127.0.0.3"} {
		for i := range ports {
			at, err := net.Listen("tcp", net.JoinHostPort(host, def(ports[i], "0"))) //nolint:noctx // a test's own loopback
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = at.Close() })
			_, ports[i], _ = net.SplitHostPort(at.Addr().String())
			go l.accept(at)
		}
	}
	l.port, _ = strconv.Atoi(ports[0])
	l.names = strings.NewReplacer("HOST", l.host, "OTHER", "127.0.0.3", "PORT", ports[0], "WRONG", ports[1])
	return l
}

func def(s, d string) string {
	if s == "" {
		return d
	}
	return s
}

func (l *listeners) accept(at net.Listener) {
	for {
		c, err := at.Accept()
		if err != nil {
			return
		}
		l.met <- at.Addr()
		_ = c.Close() // only now, so that the program does not end before
	}
}

// Dropbear and PuTTY say by connecting what they make of their arguments.
func TestReadHintAgreesWithOtherClients(t *testing.T) {
	l := listen(t)
	for program, lines := range map[string][]string{
		"dbclient": {
			"-p PORT git@HOST", "-pPORT git@HOST", "-Typ PORT git@HOST", "git@HOST -p PORT x", "-p WRONG -p PORT git@HOST",
			"-l git -p PORT HOST x", "-K 60 -I 9 -W 1000 -p PORT git@HOST", "-o SendEnv=X -p PORT git@HOST", "-y -y -p PORT -- git@HOST x",
			"git@HOST^PORT x", "-p WRONG git@HOST^PORT x", "git@HOST/PORT x", "-c aes128-ctr -m hmac-sha2-256 -b HOST -p PORT git@HOST",
			"-i /nonexistent -L 1:a:1 -R 1:a:1 -p PORT git@HOST x", "-B OTHER:WRONG -p PORT git@HOST",
		},
		"plink": {
			"-P PORT git@HOST", "-batch -P PORT git@HOST x", "git@HOST -P PORT x", "-P WRONG -P PORT git@HOST", "-ssh -2 -4 -C -T -l git -P PORT HOST",
			"-i /nonexistent -hostkey SHA256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa -P PORT git@HOST", "-pw x -nc OTHER:WRONG -P PORT git@HOST",
			"-m /dev/null -sshlog /dev/null -sshrawlog /dev/null -sessionlog /dev/null -logappend -P PORT git@HOST",
			"-load x -loghost OTHER -cert /x -L 1:a:1 -R 1:a:1 -D 0 -P PORT git@HOST", "-P PORT a@git@HOST",
		},
	} {
		if _, err := exec.LookPath(program); err != nil {
			t.Fatalf("%s is missing: install the packages dropbear-bin and putty-tools: %v", program, err)
		}
		for _, line := range lines {
			l.check(t, program, strings.Fields(l.names.Replace(line)))
		}
	}
}

// check runs a program until it has connected to one of the addresses.
func (l *listeners) check(t *testing.T, program string, args []string) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir()}
	var out strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = cmd.Wait()
		close(ended)
	}()
	select {
	case at := <-l.met:
		cancel()
		<-ended
		h := readHint(append([]string{program}, args...))
		if got := fmt.Sprintf("%s:%d", h.host, h.port); got != at.String() || h.host != l.host || h.port != l.port {
			t.Errorf("%s %q was read as %s, it goes to %s", program, args, got, at)
		}
	case <-ended:
		t.Errorf("%s %q does not connect: %v\n%s", program, args, cmd.ProcessState, out.String())
	}
}

// OpenSSH reaches a host through others with a process for each, which asks the
// agent by itself: it is the jump host that this one logs in to.
func TestReadHintOfJumpHosts(t *testing.T) {
	r := newRecording(t)
	for _, c := range []struct {
		args []string
		want hint
	}{
		{[]string{"-J", "ci@jump.test:2200"}, hint{host: "jump.test", port: 2200}},
		{[]string{"-J", "ci@first.test,jump.test"}, hint{host: "jump.test"}},
		{[]string{"-J", "[::1]:2200"}, hint{host: "::1", port: 2200}},
		{[]string{"-oProxyJump=jump.test"}, hint{host: "jump.test"}},
		{[]string{"-oProxyCommand=" + r.program("ssh") + " -q -W %h:%p ci@jump.test"}, hint{host: "jump.test"}},
		{[]string{"-oProxyCommand=" + r.program("plink") + " -batch -nc %h:%p -P 2200 ci@jump.test"}, hint{host: "jump.test", port: 2200}},
		{[]string{"-oProxyCommand=" + r.program("ssh") + " ci@jump.test nc %h %p"}, hint{host: "jump.test"}},
	} {
		args := slices.Concat(c.args, []string{"git@git.test", uploadPack})
		cmd := exec.CommandContext(t.Context(), "ssh", append([]string{"-F", "/dev/null"}, args...)...)
		cmd.Args[0] = r.program("ssh") // OpenSSH starts itself for the jump, by this name
		cmd.Env = r.env
		out, _ := cmd.CombinedOutput()
		lines := r.take(t)
		if len(lines) != 1 {
			t.Errorf("%q starts %q\n%s", args, lines, out)
			continue
		}
		if got := readHint(lines[0]); got != c.want {
			t.Errorf("%q was read as %+v, want %+v", lines[0], got, c.want)
		}
		if got := readHint(append([]string{"ssh"}, args...)); got != api(0) {
			t.Errorf("%q was read as %+v", args, got)
		}
	}
}
