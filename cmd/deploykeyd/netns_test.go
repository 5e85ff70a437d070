package main_test

import (
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// network is a network namespace of a test, with a process that holds it.
type network struct{ pid int }

func newNetwork(t *testing.T) network {
	t.Helper()
	c := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-c", "echo ready; cat")
	stdin, err := c.StdinPipe() // its end ends the holder
	if err != nil {
		t.Fatal(err)
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _, _ = stdin.Close(), c.Wait() })
	if _, err := io.ReadFull(stdout, make([]byte, len("ready\n"))); err != nil {
		t.Fatal(err)
	}
	n := network{c.Process.Pid}
	n.must(t, "ip", "link", "set", "lo", "up")
	return n
}

// command returns a command that runs in the namespace.
func (n network) command(t *testing.T, argv ...string) *exec.Cmd {
	t.Helper()
	return exec.CommandContext(t.Context(), "nsenter", append([]string{"--target", fmt.Sprint(n.pid), "--net"}, argv...)...)
}

func (n network) must(t *testing.T, argv ...string) string {
	t.Helper()
	status, stdout, stderr := finish(t, n.command(t, argv...))
	if status != 0 {
		t.Fatalf("%q (of the packages iproute2, nftables, curl): exit status %d: %s%s", argv, status, stdout, stderr)
	}
	return stdout
}

// join lays a wire between two namespaces, with an address at each end.
func (n network) join(t *testing.T, other network, name, here, there string) {
	t.Helper()
	n.must(t, "ip", "link", "add", name, "type", "veth", "peer", "name", "to-"+name, "netns", fmt.Sprint(other.pid))
	n.address(t, name, here)
	other.address(t, "to-"+name, there)
}

// address gives an interface addresses, which are used at once.
func (n network) address(t *testing.T, device, addresses string) {
	t.Helper()
	n.must(t, "ip", "link", "set", device, "up")
	for address := range strings.FieldsSeq(addresses) {
		argv := []string{"ip", "address", "add", address, "dev", device}
		if strings.Contains(address, ":") {
			argv = append(argv, "nodad")
		}
		n.must(t, argv...)
	}
}

// listen opens a listener in the namespace: a socket stays in the one that it
// was made in.
func (n network) listen(t *testing.T, address string) net.Listener {
	t.Helper()
	type opened struct {
		l   net.Listener
		err error
	}
	done := make(chan opened)
	go func() {
		// The thread comes back, and lives on: processes that other tests have started
		// from it are to end with the thread that started them (prctl(2)).
		runtime.LockOSThread()
		var o opened
		defer func() { done <- o }()
		var here, there *os.File
		if here, o.err = os.Open("/proc/thread-self/ns/net"); o.err != nil {
			return
		}
		defer here.Close()
		if there, o.err = os.Open(filepath.Join("/proc", fmt.Sprint(n.pid), "ns/net")); o.err != nil {
			return
		}
		defer there.Close()
		if o.err = unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); o.err != nil {
			return
		}
		o.l, o.err = new(net.ListenConfig).Listen(t.Context(), "tcp", address)
		if err := unix.Setns(int(here.Fd()), unix.CLONE_NEWNET); err != nil {
			o.err = errors.Join(o.err, err)
			return
		}
		runtime.UnlockOSThread()
	}()
	o := <-done
	if o.err != nil {
		t.Fatalf("listen on %s: %v", address, o.err)
	}
	t.Cleanup(func() { _ = o.l.Close() })
	return o.l
}
