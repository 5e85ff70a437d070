package sshagent_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"deploykeyd/agent/sshagent"
	"deploykeyd/agent/unixsock"
)

func TestBrokenMessagesEndTheConnection(t *testing.T) {
	w := newWorld(t)
	for name, c := range map[string]struct {
		send   []byte
		reason string
	}{
		"too long":    {u32(32<<10 + 1), "32769 bytes"},
		"much longer": {u32(0xffffffff), "4294967295 bytes"},
		"empty":       {u32(0), "0 bytes"},
		"cut":         {join(u32(100), []byte{signRequest, 0, 0}), "before its announced length"},
		"cut length":  {[]byte{0, 0}, "before its announced length"},
	} {
		conn := w.dial(t).(*net.UnixConn)
		if _, err := conn.Write(c.send); err != nil {
			t.Fatal(err)
		}
		if err := conn.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		reply, err := io.ReadAll(conn)
		if err != nil && !strings.Contains(err.Error(), "reset") {
			t.Errorf("%s: %v", name, err)
		}
		if len(reply) != 0 && !bytes.Equal(reply, str([]byte{failure})) {
			t.Errorf("%s: reply %x", name, reply)
		}
		if line := w.log.last(t); !strings.Contains(fmt.Sprint(line["reason"]), c.reason) {
			t.Errorf("%s: audit line %v", name, line)
		}
	}
}

// The longest message that is allowed is read; it is a sign request of a login
// whose user's name is long.
func TestLongMessagesAreRead(t *testing.T) {
	w := newWorld(t)
	c := w.dial(t)
	l := login{key: w.keys["gitea"].Public(), user: "u"}
	l.user = strings.Repeat("u", 1+32<<10-len(l.request()))
	w.must(t, c, l.request(), failure)
	if line := w.log.last(t); !strings.Contains(fmt.Sprint(line["reason"]), "as user") {
		t.Errorf("audit line %v", line)
	}
	l.user = ""
	w.must(t, c, l.request(), signAnswer)
}

func TestConnectionsOfAUserAreLimited(t *testing.T) {
	w := newWorld(t)
	const limit = 64
	var open []net.Conn
	for range limit {
		c := w.dial(t)
		w.must(t, c, join([]byte{extension}, str("query")), extensionResponse)
		open = append(open, c)
	}
	hungUp(t, w.dial(t))
	if line := w.log.last(t); !strings.Contains(fmt.Sprint(line["reason"]), "too many connections") {
		t.Errorf("audit line %v", line)
	}
	_ = open[0].Close()
	deadline := time.After(10 * time.Second)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for { // the server learns of the end in its own time
		c := w.dial(t)
		if _, err := ask(c, []byte{listRequest}); err == nil {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("no place is free although a connection has ended")
		}
	}
}

func TestServeEndsWithOpenConnections(t *testing.T) {
	w := newWorld(t)
	idle, half := w.dial(t), w.dial(t)
	w.must(t, idle, []byte{listRequest}, listAnswer)
	w.must(t, half, []byte{listRequest}, listAnswer)
	if _, err := half.Write(binary.BigEndian.AppendUint32(nil, 1000)); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	w.stop()
	if err := <-w.served; err != nil {
		t.Error(err)
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("took %v", took)
	}
	hungUp(t, idle)
	hungUp(t, half)
	if _, err := unixsock.Dial(t.Context(), w.socket); err == nil {
		t.Error("the socket still answers")
	}
}

// exhausted is a listener that has no file descriptor left, a few times.
type exhausted struct {
	*unixsock.Listener
	times int
}

func (l *exhausted) Accept() (net.Conn, error) {
	if l.times--; l.times >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return l.Listener.Accept()
}

func TestServeOutlivesAShortageOfDescriptors(t *testing.T) {
	w := newWorld(t)
	path := filepath.Join(folder(t), "s")
	l, err := unixsock.Listen(path, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- w.server.Serve(ctx, &exhausted{l, 2}) }()
	c, err := unixsock.Dial(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	w.must(t, c, []byte{listRequest}, listAnswer)
	cancel()
	if err := <-served; err != nil {
		t.Error(err)
	}
	if n := len(w.log.lines(t)); n != 2 {
		t.Errorf("%d log lines, want 2", n)
	}
}

func TestServeTellsOfABrokenListener(t *testing.T) {
	l, err := unixsock.Listen(filepath.Join(folder(t), "s"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	_ = l.Close()
	if err := sshagent.New(sshagent.Options{}).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v", err)
	}
}
