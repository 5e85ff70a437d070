package main_test

import (
	"crypto/ed25519"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh/agent"

	"deploykeyd/agent/control"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

const (
	idleKeys   = 300
	idleBudget = 20e6 // bytes resident
	sizeBudget = 15e6 // bytes of the stripped binary
)

// BenchmarkIdle runs the program as it is shipped with 300 keys, one for each
// of 300 repositories on GitHub, and reports what it costs once all is ready:
// its resident memory, beside that of OpenSSH's own agent with as many keys, its
// size, and a question for its status per operation.
func BenchmarkIdle(b *testing.B) {
	dir, err := os.MkdirTemp("", "dkd")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = os.RemoveAll(dir) })
	program := filepath.Join(dir, "deploykeyd")
	build := exec.CommandContext(b.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-ldflags", "-s -w", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOEXPERIMENT=runtimesecret")
	if said, err := build.CombinedOutput(); err != nil {
		b.Fatalf("build: %v\n%s", err, said)
	}
	info, err := os.Stat(program)
	if err != nil {
		b.Fatal(err)
	}
	config := idleForge(b, dir)
	c := exec.CommandContext(b.Context(), program, "run", "--log-level", "error", "--config", config,
		"--run-dir", filepath.Join(dir, "run"), "--state-dir", filepath.Join(dir, "state"))
	c.Cancel = func() error { return c.Process.Signal(os.Interrupt) }
	began := time.Now()
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Wait() })
	client := control.NewClient(filepath.Join(dir, "run", "control.sock"))
	awaitReady(b, client)
	ready := time.Since(began)
	rest := awaitRest(b, c.Process.Pid)
	theirs := awaitRest(b, openSSHAgent(b, dir))

	for b.Loop() {
		if s, err := client.Status(b.Context()); err != nil || !s.Ready {
			b.Fatalf("status: ready %v, %v", s.Ready, err)
		}
	}
	b.ReportMetric(ready.Seconds(), "s-to-ready")
	b.ReportMetric(rest/1e6, "MB-resident")
	b.ReportMetric(theirs/1e6, "MB-ssh-agent")
	b.ReportMetric(float64(info.Size())/1e6, "MB-binary")
	if rest > idleBudget || info.Size() > sizeBudget {
		b.Errorf("over budget: %.1f MB resident, %.1f MB binary", rest/1e6, float64(info.Size())/1e6)
	}
}

// openSSHAgent runs OpenSSH's agent with as many keys, and returns its pid.
func openSSHAgent(b *testing.B, dir string) int {
	b.Helper()
	path := filepath.Join(dir, "ssh-agent.sock")
	c := exec.CommandContext(b.Context(), "ssh-agent", "-D", "-a", path)
	if err := c.Start(); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = c.Wait() }) // killed when the context of b ends
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(time.Minute)
	var conn net.Conn
	for conn == nil {
		select {
		case <-tick.C:
			conn, _ = unixsock.Dial(b.Context(), path)
		case <-deadline:
			b.Fatal("ssh-agent does not listen")
		}
	}
	defer func() { _ = conn.Close() }()
	client := agent.NewClient(conn)
	for range idleKeys {
		_, private, err := ed25519.GenerateKey(nil)
		if err != nil {
			b.Fatal(err)
		}
		if err := client.Add(agent.AddedKey{PrivateKey: private}); err != nil {
			b.Fatal(err)
		}
	}
	return c.Process.Pid
}

// idleForge starts GitHub with 300 repositories and returns a configuration for
// them.
func idleForge(b *testing.B, dir string) string {
	b.Helper()
	sim, err := forgesim.Start(b.Context(), forgesim.Options{Kinds: []provision.Kind{provision.GitHub}, PageSize: 100})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = sim.Close() })
	hub := sim.Forge(provision.GitHub)
	_, token := hub.Credential()
	file := filepath.Join(dir, "token")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		b.Fatal(err)
	}
	var text strings.Builder
	fmt.Fprintf(&text, "fleet: idle\nmachine: m1\nusers: [root]\nforges:\n  - name: hub\n    kind: github\n    url: %s\n    ssh: %s\n"+
		"    host_keys: ['%s']\n    credential: {token: {file: %s}}\n    repositories:\n", hub.URL(), hub.SSH(), hub.HostKeys()[0], file)
	for i := range idleKeys {
		repo := fmt.Sprintf("acme/r%03d", i)
		if err := hub.AddRepository(repo, forgesim.RepositoryOptions{}); err != nil {
			b.Fatal(err)
		}
		fmt.Fprintf(&text, "      - %s\n", repo)
	}
	config := filepath.Join(dir, "deploykeyd.yaml")
	if err := os.WriteFile(config, []byte(text.String()), 0o600); err != nil {
		b.Fatal(err)
	}
	return config
}

func awaitReady(b *testing.B, client *control.Client) {
	b.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	deadline := time.After(5 * time.Minute)
	for {
		if s, err := client.Ready(b.Context(), time.Second); err == nil && s.Ready {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			b.Fatal("not ready in 5 minutes")
		}
	}
}

// awaitRest returns the resident memory once it has stopped to change, and at
// the latest after ten seconds.
func awaitRest(b *testing.B, pid int) float64 {
	b.Helper()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	last := resident(b, pid)
	for range 10 {
		<-tick.C
		now := resident(b, pid)
		if now == last {
			break
		}
		last = now
	}
	return last
}

// resident reads VmRSS of /proc/pid/status (proc(5)), in bytes.
func resident(b *testing.B, pid int) float64 {
	b.Helper()
	text, err := os.ReadFile(filepath.Join("/proc", itoa(pid), "status"))
	if err != nil {
		b.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	fields := strings.Fields(rest)
	if len(fields) == 0 {
		b.Fatal("no VmRSS")
	}
	kib, err := strconv.ParseFloat(fields[0], 64)
	if err != nil {
		b.Fatal(err)
	}
	return kib * 1024
}
