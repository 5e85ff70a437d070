package sshagent_test

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"runtime"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"deploykeyd/agent/sshagent"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// connectAs opens a connection as another user that is in one more group. That
// user is a thread's alone (credentials(7)), which ends with it.
func connectAs(t *testing.T, uid, gid uint32, socket string) *os.File {
	t.Helper()
	opened := make(chan *os.File, 1)
	go func() {
		defer close(opened)
		runtime.LockOSThread() // and never unlocked: the thread is of no use any more
		groups := []uint32{gid}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 1, uintptr(unsafe.Pointer(&groups[0])), 0); errno != 0 {
			t.Errorf("setgroups: %v", errno)
			return
		}
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, uintptr(uid), uintptr(uid), uintptr(uid)); errno != 0 {
			t.Errorf("setresuid: %v", errno)
			return
		}
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Error(err)
			return
		}
		f := os.NewFile(uintptr(fd), "connection")
		if err := unix.Connect(fd, &unix.SockaddrUnix{Name: socket}); err != nil {
			t.Error(err)
		}
		opened <- f
	}()
	f := <-opened
	if f == nil {
		t.FailNow()
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// served asks on a connection, and reports whether there is an answer.
func served(t *testing.T, f *os.File) bool {
	t.Helper()
	_, err := f.Write(str(join([]byte{extension}, str("query"))))
	var head [4]byte
	if err == nil {
		_, err = io.ReadFull(f, head[:])
	}
	if err == nil {
		_, err = io.CopyN(io.Discard, f, int64(binary.BigEndian.Uint32(head[:])))
	}
	return err == nil
}

// A member of a listed group may be as many users as it has subordinate uids. All
// of them together leave places to the users that are listed themselves, even to
// one that is in the group too.
func TestAGroupWithManyUidsLeavesUsersTheirPlaces(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Fatal("run this test as root: it connects as other users")
	}
	const builders, first, listed = 54321, 200_000, 61001
	w := &world{log: &auditLog{}}
	w.serveUsers(t, unixsock.NewUsers([]string{"0", fmt.Sprint(listed)}, []string{fmt.Sprint(builders)}, unixsock.Resolver{}, nil),
		[]sshagent.Forge{{Name: "hub", Kind: provision.GitHub, SSH: address("github.test", 22)}})
	got := 0
	for n := range uint32(9 * 64) {
		if served(t, connectAs(t, first+n/64, builders, w.socket)) {
			got++
		}
	}
	if got != 256 {
		t.Errorf("the group has %d connections, want 256", got)
	}
	line := w.log.last(t)
	if line["uid"] != float64(first+8) || !strings.Contains(fmt.Sprint(line["next"]), "groups together may have 256") {
		t.Errorf("audit line %v", line)
	}
	for range 64 {
		if !served(t, connectAs(t, listed, builders, w.socket)) {
			t.Fatal("a user that is listed beside the group is refused")
		}
		w.must(t, w.dial(t), []byte{listRequest}, listAnswer) // root
	}
	if served(t, connectAs(t, listed, builders, w.socket)) {
		t.Error("a user has more than 64 connections")
	}
}
