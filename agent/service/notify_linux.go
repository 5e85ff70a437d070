package service

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"time"

	"golang.org/x/sys/unix"
)

// send makes a socket for each message: the manager may be another one by now,
// which listens at the same address.
func (m *Manager) send(message string, f *os.File) error {
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: m.socket, Net: "unixgram"})
	if err != nil {
		return err
	}
	defer func() { _ = conn.Close() }()
	if err := conn.SetWriteDeadline(time.Now().Add(m.timeout)); err != nil {
		return err
	}
	if f == nil {
		return sendMessage(conn, message, nil)
	}
	raw, err := f.SyscallConn() // not Fd, which would let Accept block a thread
	if err != nil {
		return err
	}
	controlErr := raw.Control(func(fd uintptr) { err = sendMessage(conn, message, unix.UnixRights(int(fd))) })
	if err == nil {
		err = controlErr
	}
	return err
}

// sendMessage is WriteMsgUnix, which net does not have for connected datagram
// sockets.
func sendMessage(conn *net.UnixConn, message string, rights []byte) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	writeErr := raw.Write(func(fd uintptr) bool {
		err = unix.Sendmsg(int(fd), []byte(message), rights, nil, unix.MSG_NOSIGNAL)
		return !errors.Is(err, unix.EAGAIN)
	})
	if writeErr != nil {
		return writeErr
	}
	return os.NewSyscallError("sendmsg", err)
}

// monotonicLine says when a reload began: Type=notify-reload needs that to know
// this reload's answer from an earlier one's.
func monotonicLine() string {
	var now unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_MONOTONIC, &now); err != nil {
		panic(fmt.Sprintf("clock_gettime: %v", err)) // a clock that every kernel has
	}
	return "MONOTONIC_USEC=" + strconv.FormatInt(now.Nano()/int64(time.Microsecond), 10)
}
