//go:build boot

package boot_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"deploykeyd/docs/pages"
)

// docsHelpers are functions for the comments before the docs' blocks that need a
// booted machine. Where the forges are, and the credentials, is in /root/site.
const docsHelpers = `
set -m
cd /root
installed() { [ -x /usr/bin/deploykeyd ] || dpkg -i /root/deploykeyd_*.deb; }
forges() { AUDIENCE=${1:-jenkins}; } # they are outside; USER may use the keys
configure() { # the configuration for them, and the credentials
	sed "s/^fleet: .*/fleet: demo/; s/^users: .*/users: [$AUDIENCE]/" site/deploykeyd.yaml >/etc/deploykeyd/deploykeyd.yaml
	install -d -m 700 /etc/deploykeyd/credentials
	install -m 600 site/credentials/* /etc/deploykeyd/credentials
}
agent() { # UNIT USER: a CI agent that does nothing
	id "$2" >/dev/null 2>&1 || useradd --create-home --shell /bin/bash "$2"
	printf '[Service]\nUser=%s\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n' "$2" >"/etc/systemd/system/$1"
	systemctl daemon-reload
	AGENTS="$AGENTS $1"
}
clean() { # as if nothing had been installed
	for a in $AGENTS; do
		systemctl disable --now "$a"
		rm -rf "/etc/systemd/system/$a" "/etc/systemd/system/$a.d"
	done
	AGENTS=
	dpkg --purge deploykeyd
	rm -rf /tmp/api /root/token
	systemctl daemon-reload
	forges
	echo "a token" >/root/token
}
`

// Every command of the docs that needs a booted machine is run on one, and
// prints what stands there. All pages share it; each begins with a machine that
// deploykeyd was taken off.
func TestDocs(t *testing.T) {
	all, err := pages.Read(os.DirFS("../.."))
	if err != nil {
		t.Fatal(err)
	}
	m := docsMachine(t)
	place := pages.Place{Root: m.shell(t), User: m.shell(t, "runuser", "-u", "jenkins", "--"), Patience: patience}
	run(t, place.Root, docsHelpers)
	ran := 0
	for _, p := range all {
		blocks := p.Consoles("boot")
		if len(blocks) == 0 {
			continue
		}
		ran += len(blocks)
		t.Run(p.Path, func(t *testing.T) {
			run(t, place.Root, "clean")
			for _, err := range place.Walk(t.Context(), blocks) {
				t.Error(err)
			}
		})
	}
	if ran < 10 {
		t.Errorf("only %d blocks of the docs were run", ran)
	}
}

// docsMachine boots a machine that has the package as a file, and beside it what
// an administrator would have: the configuration for the forges, and credentials.
func docsMachine(t *testing.T) *machine {
	t.Helper()
	s := newSite(t)
	d := newDisk(t, s)
	// A first boot enables every unit that it finds.
	if err := os.Remove(filepath.Join(d.root, "etc/systemd/system", ciAgent)); err != nil {
		t.Fatal(err)
	}
	d.seed(t, "i-0abc123", "#cloud-config\n")
	s.configure(t, d)
	if err := os.Rename(filepath.Join(d.root, "etc/deploykeyd"), filepath.Join(d.root, "root/site")); err != nil {
		t.Fatal(err)
	}
	package1 := deb(t, firstVersion)
	d.write(t, filepath.Join("root", filepath.Base(package1)), 0o644, read(t, package1))
	return d.boot(t, s)
}

// shell starts a bash in the machine, which ends with the test.
func (m *machine) shell(t *testing.T, as ...string) *pages.Shell {
	t.Helper()
	c := m.in(t.Context(), append(as, "bash")...)
	c.WaitDelay = time.Second // for what it has started
	in, err := c.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	said, out := io.Pipe()
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		_ = c.Wait()
		_ = out.Close()
	}()
	t.Cleanup(func() {
		_ = said.Close() // whatever it still prints is nobody's
		_ = c.Process.Kill()
		<-ended
	})
	return pages.NewShell(in, said)
}

// run runs a command that is not shown.
func run(t *testing.T, s *pages.Shell, command string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if status, said, err := s.Run(ctx, command); err != nil || status != 0 {
		t.Fatalf("%s: exit status %d, %v\n%s", command, status, err, said)
	}
}
