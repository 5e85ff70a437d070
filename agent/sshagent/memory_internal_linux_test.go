package sshagent

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// BenchmarkIdleSockets serves as many repositories' own sockets as a large
// configuration has, and reports what one of them costs while nobody uses it. An
// operation is the list of one of them.
func BenchmarkIdleSockets(b *testing.B) {
	const sockets = 300
	s, k := benchOf(b)
	dir := shortDir(b)
	before := memoryNow(b)
	for n := range sockets {
		repo := provision.Repository(fmt.Sprintf("acme/r%d", n))
		s.Publish("hub", repo, k)
		serveUntilEnd(b, SocketPath(dir, "hub", repo), func(ctx context.Context, l net.Listener) error {
			return s.ServeRepository(ctx, l, "hub", repo)
		})
	}
	idle := memoryNow(b)
	c, err := unixsock.Dial(b.Context(), SocketPath(dir, "hub", "acme/r0"))
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	for b.Loop() {
		if number, err := exchange(c, []byte{0, 0, 0, 1, msgRequestIdentities}); err != nil || number != msgIdentitiesAnswer {
			b.Fatalf("reply %d, %v", number, err)
		}
	}
	idle.report(b, before, sockets, "socket")
}

// BenchmarkIdleConnections opens as many connections as one user may have, has
// something signed on each, and reports what one of them costs then. An
// operation is one more signature.
func BenchmarkIdleConnections(b *testing.B) {
	s, k := benchOf(b)
	socket := filepath.Join(shortDir(b), "s")
	serveUntilEnd(b, socket, s.Serve)
	request := signMessageOf(k)
	before := memoryNow(b)
	reply := make([]byte, 1000)
	ask := func(fd int) {
		if _, err := unix.Write(fd, request); err != nil {
			b.Fatal(err)
		}
		if n, err := unix.Read(fd, reply); err != nil || n < 5 || reply[4] != msgSignResponse {
			b.Fatalf("reply %x, %v", reply[:n], err)
		}
	}
	var last int
	for range maxPerUser {
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0) // costs us nothing of Go's
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = unix.Close(fd) }() //nolint:revive // all of them, at the end
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
			b.Fatal(err)
		}
		ask(fd)
		last = fd
	}
	idle := memoryNow(b)
	for b.Loop() {
		ask(last)
	}
	idle.report(b, before, maxPerUser, "connection")
}

// memory is what the process takes, in bytes.
type memory struct{ resident, heap, stacks uint64 }

func memoryNow(b *testing.B) memory {
	b.Helper()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		b.Fatal(err)
	}
	pages, err := strconv.ParseUint(string(bytes.Fields(text)[1]), 10, 64)
	if err != nil {
		b.Fatal(err)
	}
	return memory{pages * uint64(os.Getpagesize()), m.HeapAlloc, m.StackInuse}
}

func (m memory) report(b *testing.B, before memory, n float64, what string) {
	b.Helper()
	b.ReportMetric((float64(m.resident)-float64(before.resident))/n, "B-resident/"+what)
	b.ReportMetric((float64(m.heap)-float64(before.heap))/n, "B-heap/"+what)
	b.ReportMetric((float64(m.stacks)-float64(before.stacks))/n, "B-stack/"+what)
}
