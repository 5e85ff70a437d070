package sshagent_test

import (
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
)

// hangUp ends a connection and waits until the server has left it too.
func hangUp(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(*net.UnixConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(c); err != nil {
		t.Fatal(err)
	}
}

// A client that names no repository sees the keys of some forges and not of
// others. When it goes without a signature, it most likely wanted one that it was
// not shown, and the log is the only place that can tell why.
func TestClientThatFoundNoUseInWhatItWasShownIsTold(t *testing.T) {
	w := newWorld(t)
	for _, c := range []struct {
		name string
		do   func(net.Conn)
		told bool
	}{
		{"lists", func(c net.Conn) { listed(t, c) }, true},
		{"lists twice", func(c net.Conn) { listed(t, c); listed(t, c) }, true},
		{"lists and signs", func(c net.Conn) {
			listed(t, c)
			w.must(t, c, login{key: w.keys["gitea"].Public()}.request(), signAnswer)
		}, false},
		{"lists, is refused", func(c net.Conn) {
			listed(t, c)
			w.must(t, c, login{key: w.keys["gitea"].Public(), user: "root"}.request(), failure)
		}, true},
		{"lists, binds and lists", func(c net.Conn) {
			listed(t, c)
			w.must(t, c, bind{host: w.hosts["gitea"]}.request(t), success)
			listed(t, c)
		}, false},
		{"nothing", func(net.Conn) {}, false},
	} {
		before, conn := len(w.log.lines(t)), w.dial(t)
		c.do(conn)
		hangUp(t, conn)
		told := 0
		for _, line := range w.log.lines(t)[before:] {
			if line["decision"] != "withheld" {
				continue
			}
			told++
			if line["level"] != "INFO" || !strings.Contains(fmt.Sprint(line["reason"]), "forge hub has 2 keys") ||
				!strings.Contains(fmt.Sprint(line["next"]), "sockets: repository") {
				t.Errorf("%s: audit line %v", c.name, line)
			}
		}
		if told != map[bool]int{true: 1}[c.told] {
			t.Errorf("%s: told %d times", c.name, told)
		}
	}
	conn, before := w.dial(t), len(w.log.lines(t))
	listed(t, conn)
	w.stop() // cuts it off, which is no choice of the client's
	if err := <-w.served; err != nil {
		t.Error(err)
	}
	if lines := w.log.lines(t)[before:]; len(lines) != 0 {
		t.Errorf("log at the end: %v", lines)
	}
	if _, refused := w.server.Totals(); refused != 1 {
		t.Errorf("%d refusals are counted", refused)
	}
}
