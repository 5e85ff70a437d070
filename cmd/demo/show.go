//go:build linux

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"deploykeyd/agent"
	"deploykeyd/agent/key/keyscan"
	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// knownHosts is where "deploykeyd ssh-config --write" puts the pinned host keys.
const knownHosts = "/etc/ssh/deploykeyd_known_hosts"

// demo is a stage, two programs and what was learnt of them.
type demo struct {
	*stage
	*screen
	bin     string
	control string // URL of the emulator's control API
	sim     *daemon
	agent   *daemon
	status  agent.Status
	secrets map[provision.PublicKey]*keyscan.Secret // found in the daemon's memory
}

func show(ctx context.Context, bin string) (err error) {
	began := time.Now()
	s, err := newStage()
	if err != nil {
		return err
	}
	d := &demo{stage: s, screen: &screen{w: os.Stdout, start: began}, bin: bin}
	defer func() { err = errors.Join(err, d.end()) }()
	steps := []struct {
		title string
		run   func(context.Context) error
	}{
		{"three forges: Gitea, GitHub and Bitbucket Cloud, emulated on loopback with real git over SSH", d.startForges},
		{"the configuration, and the builds' ssh configuration, written by root", d.configure},
		{"the daemon: keys in memory, public halves registered, proven with git, lent to the user build", d.startDaemon},
		{"what is where", d.showStatus},
		{"the user build clones every repository through the socket", d.cloneAll},
		{"a tag is pushed where access is write, and refused where it is read", d.pushTags},
		{"the user mallory, who is not listed, gets nothing", d.refuseOthers},
		{"the private keys are in no file", d.scanFiles},
		{"SIGTERM: the keys are revoked before the daemon ends", d.stopDaemon},
		{"no forge lists a key, and SSH is refused", d.nothingLeft},
	}
	for _, step := range steps {
		if err := d.step(step.title, func() error { return step.run(ctx) }); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprintf(os.Stdout, "\nAll %d steps hold, in %.1f s.\n", len(steps), time.Since(began).Seconds())
	return nil
}

// end stops what still runs and removes the folder.
func (d *demo) end() error {
	var errs []error
	for _, p := range []*daemon{d.agent, d.sim} {
		if p != nil {
			_, err := p.stop(30 * time.Second)
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, d.strike())...)
}

func (d *demo) startForges(ctx context.Context) error {
	c := exec.CommandContext(ctx, filepath.Join(d.bin, "forgesim"), "--names", "--user", buildUser.name,
		"--dir", d.path("forges"), "--config-out", d.path("etc", "deploykeyd.yaml"), "--control-out", d.path("control"))
	log, err := os.Create(d.path("log", "forgesim.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	c.Stdout, c.Stderr = log, log
	if d.sim, err = launch(c); err != nil {
		return err
	}
	if err := d.sim.await(ctx, func() bool { return exists(d.path("control")) }); err != nil {
		return err
	}
	url, err := os.ReadFile(d.path("control"))
	if err != nil {
		return err
	}
	d.control = strings.TrimSpace(string(url))
	state, err := d.state(ctx)
	if err != nil {
		return err
	}
	for _, kind := range provision.Kinds() {
		if f, ok := state.Forges[kind]; ok {
			d.say("%-16s %s  %s  %s", kind, f.URL, f.SSH, strings.Join(f.Repositories, " "))
		}
	}
	return nil
}

// configure hands the credentials to the daemon's user and writes what builds
// need, as an installation does.
func (d *demo) configure(ctx context.Context) error {
	files, err := os.ReadDir(d.path("etc"))
	if err != nil {
		return err
	}
	for _, f := range files {
		if filepath.Ext(f.Name()) != ".token" {
			continue
		}
		if err := os.Chown(d.path("etc", f.Name()), int(daemonUser.id), int(daemonUser.id)); err != nil {
			return err
		}
	}
	d.command(daemonUser.name, "deploykeyd config check")
	said, err := output(d.as(daemonUser, d.deploykeyd(ctx, "config", "check")))
	if err != nil {
		return err
	}
	d.say("%s", said)
	d.command("root", "deploykeyd ssh-config --write")
	said, err = output(d.deploykeyd(ctx, "ssh-config", "--write"))
	d.say("%s", said)
	return err
}

func (d *demo) deploykeyd(ctx context.Context, args ...string) *exec.Cmd {
	args = append(args, "--config", d.path("etc", "deploykeyd.yaml"), "--run-dir", d.path("run"), "--state-dir", d.path("state"))
	return exec.CommandContext(ctx, filepath.Join(d.bin, "deploykeyd"), args...)
}

func (d *demo) startDaemon(ctx context.Context) error {
	d.command(daemonUser.name, "deploykeyd run")
	began := time.Now()
	c := d.as(daemonUser, d.deploykeyd(context.WithoutCancel(ctx), "run", "--log-format", "json"))
	log, err := c.StderrPipe()
	if err != nil {
		return err
	}
	file, err := os.Create(d.path("log", "deploykeyd.log"))
	if err != nil {
		return err
	}
	if d.agent, err = launch(c); err != nil {
		return err
	}
	go d.follow(log, file)
	if _, err := output(d.as(buildUser, d.deploykeyd(ctx, "wait", "--timeout", "30s"))); err != nil {
		return err
	}
	d.say("%s$ deploykeyd wait: ready %.2f s after the start", buildUser.name, time.Since(began).Seconds())
	return nil
}

func (d *demo) showStatus(ctx context.Context) error {
	text, err := output(d.as(buildUser, d.deploykeyd(ctx, "status")))
	if err != nil {
		return err
	}
	d.command(buildUser.name, "deploykeyd status")
	d.say("%s", text)
	c := d.as(buildUser, d.deploykeyd(ctx, "status", "--json"))
	raw, err := c.Output()
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &d.status); err != nil {
		return err
	}
	state, err := d.state(ctx)
	if err != nil {
		return err
	}
	keys := 0
	for _, f := range state.Forges {
		keys += len(f.Keys)
	}
	if keys != len(d.status.Repositories) || keys == 0 {
		return fmt.Errorf("the forges list %d keys for %d repositories", keys, len(d.status.Repositories))
	}
	rss, err := residentKiB(d.agent.pid())
	if err != nil {
		return err
	}
	d.say("the forges list %d keys for %d repositories; the daemon's resident memory is %.1f MB", keys, len(d.status.Repositories), float64(rss)/1024)
	return nil
}

// residentKiB reads VmRSS of /proc/pid/status (proc(5)).
func residentKiB(pid int) (int, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(text)) {
		if rest, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			return strconv.Atoi(strings.Fields(rest)[0])
		}
	}
	return 0, errors.New("no VmRSS")
}

// state asks the emulator for the truth.
func (d *demo) state(ctx context.Context) (forgesim.State, error) {
	var state forgesim.State
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, d.control+"/state", http.NoBody)
	if err != nil {
		return state, err
	}
	client := &http.Client{Timeout: 5 * time.Second}
	resp, err := client.Do(req)
	if err != nil {
		return state, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return state, fmt.Errorf("the emulator's state: %s", resp.Status)
	}
	return state, json.NewDecoder(resp.Body).Decode(&state)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
