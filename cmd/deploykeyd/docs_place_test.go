package main_test

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"deploykeyd/docs/pages"
)

// The places of console blocks. Where a block names none it is the first.
const (
	placeRunning = ""       // a machine whose daemon is ready, with three forges
	placeFresh   = "fresh"  // the same machine with the programs alone
	placeSource  = "source" // the folder of the source, on the machine that runs the tests
	placeBoot    = "boot"   // a booted machine: packaging/boot runs these
	placeCI      = "ci"     // nowhere: .ci/run has a stage for each of these commands
)

// docsPrograms builds what the pages use, as it is shipped.
func docsPrograms(t *testing.T) string {
	t.Helper()
	bin := openDir(t)
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", bin+"/",
		"deploykeyd/cmd/deploykeyd", "deploykeyd/cmd/forgesim")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOEXPERIMENT=runtimesecret")
	if said, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, said)
	}
	return bin
}

// openDir makes a folder that every user may read.
func openDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dkdocs")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// machineScript makes the machine of the docs out of the one that runs the tests:
// its own mounts, network and processes, files of its own in every folder that
// deploykeyd or ssh writes to, and the users whom the pages speak of. Then it
// goes on as the two shells: root's and that of the user jenkins.
const machineScript = `
mount --make-rprivate /
ip link set lo up
mkdir "$DIR/etc"
cp -a /etc/. "$DIR/etc"
mount --bind "$DIR/etc" /etc
for d in /run /home /root /var/lib /var/log; do mount -t tmpfs -o mode=755 tmpfs $d; done

rm -rf /etc/ssh /etc/deploykeyd
mkdir -p /etc/ssh/ssh_config.d /etc/deploykeyd /var/lib/cloud/data /run/cloud-init
echo 'Include /etc/ssh/ssh_config.d/*.conf' >/etc/ssh/ssh_config
echo i-0abc123 >/var/lib/cloud/data/instance-id
echo '{"v1": {"instance_id": "i-0abc123"}}' >/run/cloud-init/instance-data.json
cat >>/etc/hosts <<-END
	127.0.0.1 gitea.test
	127.0.0.2 github.test
	127.0.0.3 bitbucket-cloud.test
END
for u in deploykeyd:61801 jenkins:61802 mallory:61803; do
	name=${u%:*} id=${u#*:}
	echo "$name:x:$id:$id::/home/$name:/bin/bash" >>/etc/passwd
	echo "$name:x:$id:" >>/etc/group
	mkdir /home/$name
	chown $id:$id /home/$name
done

export GIT_CONFIG_NOSYSTEM=1 GIT_TERMINAL_PROMPT=0 LC_ALL=C
cd /home/jenkins
setpriv --reuid jenkins --regid jenkins --clear-groups env HOME=/home/jenkins USER=jenkins LOGNAME=jenkins bash <&3 >&4 2>&4 3<&- 4>&- &
export HOME=/root USER=root
cd /root
exec bash 3<&- 4>&-
`

// rootHelpers are functions for the comments before blocks.
const rootHelpers = `
set -m
await() { # FILE
	for i in $(seq 300); do [ -s "$1" ] && return; sleep 0.1; done
	return 1
}
forges() { # starts the forges and writes a configuration for them, once
	local i k=gitea g=github b=bitbucket-cloud
	setsid forgesim --names --config-out /etc/deploykeyd/deploykeyd.yaml --user jenkins --control-out /run/control \
		--http $k=127.0.0.1:80,$g=127.0.0.2:80,$b=127.0.0.3:80 --ssh $k=127.0.0.1:22,$g=127.0.0.2:22,$b=127.0.0.3:22 \
		"$@" >/var/log/forgesim.log 2>&1 &
	disown
	await /run/control || return
	install -d -m 700 /etc/deploykeyd/credentials
	for i in $k $g $b; do
		mv /etc/deploykeyd/$i.token /etc/deploykeyd/credentials/$i
		sed -i "s|{file: \"/etc/deploykeyd/$i.token\"}|{systemd: $i}|" /etc/deploykeyd/deploykeyd.yaml
	done
	CONTROL=$(cat /run/control)
}
daemon() { # runs the daemon as the unit does, as a user of its own
	local f
	install -d -o deploykeyd -g deploykeyd /run/deploykeyd
	install -d -o deploykeyd -g deploykeyd -m 700 /var/lib/deploykeyd /run/credentials/deploykeyd.service
	for f in /etc/deploykeyd/credentials/*; do
		install -o deploykeyd -g deploykeyd -m 400 "$f" "/run/credentials/deploykeyd.service/deploykeyd_${f##*/}"
	done
	export CREDENTIALS_DIRECTORY=/run/credentials/deploykeyd.service
	(ulimit -l unlimited 2>/dev/null; exec setpriv --reuid deploykeyd --regid deploykeyd --clear-groups deploykeyd run) >>/var/log/deploykeyd.log 2>&1 &
	DAEMON=$!
	unset CREDENTIALS_DIRECTORY
}
daemon_stops() { kill -TERM $DAEMON; wait $DAEMON; }
fault() { # FORGE NAME [OP [MORE JSON MEMBERS]]
	curl -sf "$CONTROL/faults" -d "{\"forge\": \"$1\", \"name\": \"$2\", \"op\": \"${3:-any}\"${4:+, $4}}"
}
faults_end() { curl -sf -X DELETE "$CONTROL/faults"; }
`

// docsMachine starts a machine for the blocks of one page. It is gone at the end
// of the test, with everything that ran on it.
func docsMachine(t *testing.T, bin string) pages.Place {
	t.Helper()
	dir := openDir(t)
	userIn, user := pipe(t)
	userSaid, userOut := pipe(t)
	c := exec.CommandContext(t.Context(), "unshare", "--mount", "--net", "--pid", "--fork", "--kill-child", "--mount-proc",
		"bash", "-euc", machineScript)
	c.Env = []string{"DIR=" + dir, "PATH=" + bin + ":/usr/sbin:/usr/bin:/sbin:/bin", "TERM=dumb"}
	c.ExtraFiles = []*os.File{userIn, userOut}
	place := pages.Place{Root: startShell(t, c), User: pages.NewShell(user, userSaid), Patience: patience}
	_, _ = userIn.Close(), userOut.Close()
	mustRun(t, place.Root, rootHelpers)
	return place
}

// pipe returns the two ends of a pipe, which end with the test.
func pipe(t *testing.T) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = r.Close(), w.Close() })
	return r, w
}

// startShell starts a bash that reads commands, and ends it with the test.
func startShell(t *testing.T, c *exec.Cmd) *pages.Shell {
	t.Helper()
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, out := io.Pipe()
	c.Stdout, c.Stderr = out, out
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	c.WaitDelay = time.Second // for what it has started
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		_ = c.Wait()
		_ = out.Close()
		close(ended)
	}()
	t.Cleanup(func() {
		_ = said.Close() // whatever it still prints is nobody's
		_ = c.Process.Kill()
		<-ended
	})
	return pages.NewShell(in, said)
}

func mustRun(t *testing.T, s *pages.Shell, command string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if status, said, err := s.Run(ctx, command); err != nil || status != 0 {
		t.Fatalf("%s: exit status %d, %v\n%s", command, status, err, said)
	}
}

// docsPlace returns the place of that name, prepared as the pages take it.
func docsPlace(t *testing.T, name, bin string) pages.Place {
	t.Helper()
	switch name {
	case placeSource:
		c := exec.CommandContext(t.Context(), "bash")
		c.Dir = filepath.Join("..", "..")
		// No make above it is known there: it would talk of the folders that it enters.
		c.Env = append(os.Environ(), "LC_ALL=C", "MAKEFLAGS=", "MFLAGS=", "MAKELEVEL=")
		shell := startShell(t, c)
		return pages.Place{Root: shell, User: shell, Patience: 3 * patience}
	case placeRunning:
		m := docsMachine(t, bin)
		mustRun(t, m.Root, "forges && deploykeyd ssh-config --write && daemon && deploykeyd wait")
		return m
	case placeFresh:
		return docsMachine(t, bin)
	}
	t.Fatalf("there is no place %q for console blocks", name)
	return pages.Place{}
}

// The place itself: commands keep their surroundings, each shell is its user's,
// and the machine of the tests is left alone.
func TestDocsMachine(t *testing.T) {
	m := docsMachine(t, docsPrograms(t))
	for _, c := range []struct {
		shell   *pages.Shell
		command string
		says    string
	}{
		{m.Root, "id -un; hostname >/etc/mark; cd /etc; X=7", "root"},
		{m.Root, "echo $X $PWD; ls mark", "7 /etc\nmark"},
		{m.User, "id -un; pwd; touch /etc/mark", "jenkins\n/home/jenkins\ntouch: …"},
		{m.User, "deploykeyd wait --timeout 100ms", "deploykeyd: not ready after …\n…"},
		{m.User, "cat", ""},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		_, said, err := c.shell.Run(ctx, c.command)
		cancel()
		if err == nil {
			err = pages.Match(c.says, said)
		}
		if err != nil {
			t.Errorf("%s: %v", c.command, err)
		}
	}
	if _, err := os.Stat("/etc/mark"); err == nil {
		t.Error("a file of the place is on the machine that runs the tests")
	}
}

// sessions returns the console blocks of a page by their place, in order.
func sessions(p pages.Page) (places []string, blocks map[string][]pages.Block) {
	blocks = map[string][]pages.Block{}
	for _, b := range p.Blocks {
		if b.Language != "console" {
			continue
		}
		if len(blocks[b.Place()]) == 0 {
			places = append(places, b.Place())
		}
		blocks[b.Place()] = append(blocks[b.Place()], b)
	}
	return places, blocks
}

// Every command of the docs is run, and prints what stands there.
func TestDocsConsole(t *testing.T) {
	t.Parallel()
	if os.Geteuid() != 0 {
		t.Fatal("these tests make a machine of their own: run them as root (sudo make test)")
	}
	bin := docsPrograms(t)
	for _, p := range docsPages(t) {
		places, blocks := sessions(p)
		for _, name := range places {
			if name == placeBoot || name == placeCI {
				continue
			}
			t.Run(strings.TrimSuffix(fmt.Sprintf("%s %s", p.Path, name), " "), func(t *testing.T) {
				t.Parallel()
				for _, err := range docsPlace(t, name, bin).Walk(t.Context(), blocks[name]) {
					t.Error(err)
				}
			})
		}
	}
}
