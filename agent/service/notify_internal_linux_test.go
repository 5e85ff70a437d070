package service

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// A manager that reads nothing for long does not hold up the daemon for good.
func TestManagerThatDoesNotRead(t *testing.T) {
	dir, err := os.MkdirTemp("", "dkd")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(dir) }()
	address := filepath.Join(dir, "notify")
	deaf, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: address, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = deaf.Close() }()
	m := &Manager{socket: address, timeout: 20 * time.Millisecond}
	for range 100_000 {
		if err = m.Alive(); err != nil {
			break
		}
	}
	if !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("with a full queue: %v", err)
	}
}
