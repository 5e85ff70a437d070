// Command successor is a daemon in small: it has a socket and three parked keys,
// takes both over from its predecessor if there is one, and obeys one line after
// the other. It says what it has inherited, and then answers each with a line.
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"

	"deploykeyd/agent/key"
	"deploykeyd/agent/service"
	"deploykeyd/agent/unixsock"
)

type daemon struct {
	manager  *service.Manager
	files    map[string]*os.File
	listener *unixsock.Listener
	parking  *key.Parking
	keys     []*key.Key
}

func main() {
	m, err := service.FromEnvironment()
	if err != nil {
		fmt.Println("error:", err)
		return
	}
	d := daemon{manager: m, files: m.Inherited()}
	fmt.Println("inherited:", strings.Join(slices.Sorted(maps.Keys(d.files)), " "))
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		words := strings.Fields(lines.Text())
		answer, err := d.obey(words[0], words[1:]...)
		if err != nil {
			answer = "error: " + err.Error()
		}
		fmt.Println(answer)
	}
}

func (d *daemon) obey(command string, words ...string) (answer string, err error) {
	answer = "done"
	switch command {
	case "begin":
		return d.begin(words[0])
	case "take":
		return d.take(words[0])
	case "serve":
		err = d.serve(words[0])
	case "sign":
		return d.sign()
	case "state":
		return d.state()
	case "store":
		err = d.store()
	case "children":
		err = d.children()
	case "ready":
		err = d.manager.Ready("generation " + words[0])
	case "again": // by itself, or what is at that path
		err = d.again(append(words, os.Args[0])[0])
	}
	return answer, err
}

func (d *daemon) begin(path string) (string, error) {
	var err error
	if d.listener, err = unixsock.Listen(path, 0o600); err != nil {
		return "", err
	}
	if d.parking, err = key.NewParking(); err != nil {
		return "", err
	}
	for _, kind := range key.Types() {
		k, err := key.Generate(kind)
		if err != nil {
			return "", err
		}
		if err := d.parking.Park(k); err != nil {
			return "", err
		}
		d.keys = append(d.keys, k)
	}
	return d.publicKeys(), nil
}

func (d *daemon) take(path string) (string, error) {
	var err error
	if d.listener, err = unixsock.Inherit(d.files["agent.sock"], path); err != nil {
		return "", err
	}
	if d.parking, d.keys, err = key.OpenParking(d.files["keys"]); err != nil {
		return "", err
	}
	return d.publicKeys(), nil
}

func (d *daemon) publicKeys() string {
	var list []string
	for _, k := range d.keys {
		list = append(list, hex.EncodeToString(k.Public()))
	}
	return strings.Join(list, " ")
}

// serve answers so many clients that send something.
func (d *daemon) serve(clients string) error {
	left, err := strconv.Atoi(clients)
	if err != nil {
		return err
	}
	for left > 0 {
		c, err := d.listener.Accept()
		if err != nil {
			return err
		}
		if n, err := c.Read(make([]byte, 1)); n == 1 && err == nil {
			left--
			fmt.Fprintln(c, os.Getpid())
		}
		_ = c.Close()
	}
	return nil
}

// sign returns a signature of each key, over "data".
func (d *daemon) sign() (string, error) {
	var list []string
	for _, k := range d.keys {
		algorithm := ""
		if strings.Contains(string(k.Public()), ssh.KeyAlgoRSA) {
			algorithm = ssh.KeyAlgoRSASHA256
		}
		signature, err := k.Sign([]byte("data"), algorithm)
		if err != nil {
			return "", err
		}
		list = append(list, hex.EncodeToString(ssh.Marshal(signature)))
	}
	return strings.Join(list, " "), nil
}

func (d *daemon) handover() (map[string]*os.File, error) {
	f, err := d.listener.File()
	return map[string]*os.File{"agent.sock": f, "keys": d.parking.File()}, err
}

func (d *daemon) store() error {
	files, err := d.handover()
	if err != nil {
		return err
	}
	defer func() { _ = files["agent.sock"].Close() }()
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := d.manager.Store(name, files[name]); err != nil {
			return err
		}
	}
	return nil
}

func (d *daemon) again(path string) error {
	files, err := d.handover()
	if err != nil {
		return err
	}
	defer func() { _ = files["agent.sock"].Close() }()
	return d.manager.Reexec(path, os.Args, files)
}

// children starts programs while executions fail, and looks what they get.
func (d *daemon) children() error {
	ctx, stop := context.WithCancel(context.Background())
	failed := make(chan error)
	go func() {
		defer close(failed)
		for ctx.Err() == nil {
			if err := d.again("/proc/self/none"); !errors.Is(err, fs.ErrNotExist) {
				failed <- err
			}
		}
	}()
	var got []byte
	for range 100 {
		text, err := exec.CommandContext(ctx, "ls", "-l", "/proc/self/fd").Output()
		if err != nil {
			stop()
			return err
		}
		got = append(got, text...)
	}
	stop()
	if err := <-failed; err != nil {
		return err
	}
	if bytes.Contains(got, []byte("socket")) || bytes.Contains(got, []byte("secretmem")) {
		return fmt.Errorf("a child has got %s", got)
	}
	return nil
}

// state says what an execution could change for the worse: which descriptors a
// child would inherit, how many are open, what becomes of signals, how many files
// may be open, and what a child sees of the service manager.
func (d *daemon) state() (string, error) {
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return "", err
	}
	var open []string
	for _, e := range entries {
		fd, err := strconv.Atoi(e.Name())
		if err != nil {
			return "", err
		}
		flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
		if err == nil && flags&unix.FD_CLOEXEC == 0 && fd > 2 {
			target, _ := os.Readlink(filepath.Join("/proc/self/fd", e.Name()))
			if strings.Contains(target, "socket") || strings.Contains(target, "mem") || strings.Contains(target, "event") {
				open = append(open, target) // not what whoever runs the tests had open
			}
		}
	}
	var limit unix.Rlimit
	if err := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit); err != nil {
		return "", err
	}
	text, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return "", err
	}
	var signals []string
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "SigBlk:") || strings.HasPrefix(line, "SigIgn:") {
			signals = append(signals, strings.Join(strings.Fields(line), ""))
		}
	}
	var variables []string
	for _, entry := range os.Environ() {
		for _, prefix := range []string{"LISTEN_", "NOTIFY_", "WATCHDOG_", "DEPLOYKEYD_"} {
			if strings.HasPrefix(entry, prefix) {
				variables = append(variables, entry)
			}
		}
	}
	return fmt.Sprintf("inheritable %q, %d open, %v, limit %d, X %q, watchdog %v, variables %q",
		open, len(entries), signals, limit.Cur, os.Getenv("X"), d.manager.Watchdog(), variables), nil
}
