package sshagent

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strconv"
	"testing"
	"time"

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
		serveUntilEnd(b, SocketPath(dir, "hub", repo), func(ctx context.Context, l Listener) error {
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
		last = rawConnection(b, socket)
		ask(last)
	}
	idle := memoryNow(b)
	for b.Loop() {
		ask(last)
	}
	idle.report(b, before, maxPerUser, "connection")
}

// rawConnection is a client's connection that costs us nothing of Go's.
func rawConnection(tb testing.TB, socket string) (fd int) {
	tb.Helper()
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = unix.Close(fd) })
	if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
		tb.Fatal(err)
	}
	return fd
}

// holdAll takes all places that there are, with the longest message in flight on
// each: half of them lack a byte yet, and the others wait for a turn. It returns
// what the process took before.
func holdAll(tb testing.TB) (before memory) {
	tb.Helper()
	s, _ := benchOf(tb)
	s.users.users.perUser, s.users.reads.perUser = maxTotal, maxTotal // we are one user
	s.users.turns.free = 0
	socket := filepath.Join(shortDir(tb), "s")
	serveUntilEnd(tb, socket, s.Serve)
	before = memoryNow(tb)
	const key = maxMessage - (1 + 4 + 4 + 4)
	message := binary.BigEndian.AppendUint32(nil, maxMessage)
	message = appendString(append(message, msgSignRequest), make([]byte, key))
	message = append(message, make([]byte, 8)...)
	for n := range maxTotal {
		m := message[:len(message)-n%2]
		if wrote, err := unix.Write(rawConnection(tb, socket), m); err != nil || wrote != len(m) {
			tb.Fatalf("%d bytes of %d, %v", wrote, len(m), err)
		}
	}
	tick := time.NewTicker(time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(arriveLimit); ; {
		s.users.turns.mu.Lock()
		n := 0
		for _, l := range s.users.turns.lines {
			n += len(l.waiting)
		}
		s.users.turns.mu.Unlock()
		if n == maxTotal/2 {
			return before
		}
		select {
		case <-deadline:
			tb.Fatalf("%d requests wait, want %d", n, maxTotal/2)
		case <-tick.C:
		}
	}
}

// Whoever fills all places with the longest messages gets their length, once, and
// what a connection takes besides.
func TestMessagesInFlightTakeTheirLengthOnce(t *testing.T) {
	before, after := holdAll(t), memoryNow(t)
	const each = maxMessage + 12<<10
	if got := int64(after.heap) - int64(before.heap); got > maxTotal*each || got < maxTotal*maxMessage {
		t.Errorf("%d messages of %d bytes take %d bytes of the heap, want at most %d", maxTotal, maxMessage, got, maxTotal*each)
	}
}

// BenchmarkHeldConnections reports what one of them costs then. An operation is
// the look at it.
func BenchmarkHeldConnections(b *testing.B) {
	before := holdAll(b)
	var held memory
	for b.Loop() {
		held = memoryNow(b)
	}
	held.report(b, before, maxTotal, "connection")
}

// memory is what the process takes, in bytes.
type memory struct{ resident, heap, stacks uint64 }

func memoryNow(tb testing.TB) memory {
	tb.Helper()
	debug.FreeOSMemory()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	text, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		tb.Fatal(err)
	}
	pages, err := strconv.ParseUint(string(bytes.Fields(text)[1]), 10, 64)
	if err != nil {
		tb.Fatal(err)
	}
	return memory{pages * uint64(os.Getpagesize()), m.HeapAlloc, m.StackInuse}
}

func (m memory) report(b *testing.B, before memory, n float64, what string) {
	b.Helper()
	b.ReportMetric((float64(m.resident)-float64(before.resident))/n, "B-resident/"+what)
	b.ReportMetric((float64(m.heap)-float64(before.heap))/n, "B-heap/"+what)
	b.ReportMetric((float64(m.stacks)-float64(before.stacks))/n, "B-stack/"+what)
}
