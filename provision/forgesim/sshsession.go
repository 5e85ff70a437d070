package forgesim

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"os/exec"
	"slices"
	"time"

	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
)

// denial is a reason for which the SSH side does not run a command.
type denial int

const (
	deniedNot      denial = iota
	deniedShell           // no command at all
	deniedCommand         // not one of git's
	deniedPath            // no repository's path
	deniedMissing         // no such repository
	deniedAccess          // the key is not on it
	deniedWrite           // the key may only read
	deniedArchived        // it takes no pushes
	deniedPolicy          // deploy keys are switched off
)

// peer is who asks and for what, in the words that refusals use.
type peer struct {
	row     keyRow
	home    string // a repository that the key is on
	path    string // the repository asked for
	command string
	words   []string // of the command; nil when it does not parse
}

// farewell is what a client hears that gets no git.
type farewell struct {
	stdout, stderr string
	exit           uint32
}

// session is one SSH session channel: one command.
type session struct {
	forge    *Forge
	channel  ssh.Channel
	key      provision.PublicKey // that the connection logged in with
	protocol string              // the client's GIT_PROTOCOL
	hangup   func()              // cuts the whole connection
}

// serve handles the session's requests. The first shell or exec ends it.
func (s *session) serve(ctx context.Context, requests <-chan *ssh.Request) {
	defer s.channel.Close()
	for r := range requests {
		switch r.Type {
		case "env":
			var e struct{ Name, Value string }
			known := ssh.Unmarshal(r.Payload, &e) == nil && e.Name == "GIT_PROTOCOL"
			if known {
				s.protocol = e.Value
			}
			_ = r.Reply(known, nil)
		case "shell", "exec":
			var e struct{ Command string }
			if r.Type == "exec" && ssh.Unmarshal(r.Payload, &e) != nil {
				_ = r.Reply(false, nil)
				return
			}
			_ = r.Reply(true, nil)
			s.forge.sim.tasks.Go(func() { ssh.DiscardRequests(requests) })
			s.run(ctx, e.Command)
			return
		default:
			_ = r.Reply(false, nil)
		}
	}
}

// run answers one command and ends the session with its exit status.
func (s *session) run(ctx context.Context, command string) {
	f := s.forge
	d, p, start := f.authorise(s.key, command)
	x := f.fateOfCommand(p.path)
	if x.Name == HoldReply && f.hold(ctx, x.hold) != nil || f.sim.pause(ctx, x.slow) != nil {
		return
	}
	var status uint32
	switch {
	case d != deniedNot:
		status = s.say(f.dialect.denied(d, p))
	case start.verb == lfsAuthenticate:
		status = s.say(f.grantLFS(start))
	default:
		status = s.git(ctx, start)
	}
	defer f.noteCommand(Command{Line: command, Repository: p.path, Key: s.key, Exit: int(status), Time: time.Now()})
	if x.Name == CutAfterEffect {
		s.hangup()
		return
	}
	_, _ = s.channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
}

// say sends words in place of a program's output, and returns the exit status.
func (s *session) say(w farewell) uint32 {
	_, _ = io.WriteString(s.channel, w.stdout)
	_, _ = io.WriteString(s.channel.Stderr(), w.stderr)
	return w.exit
}

// start is a command that may run.
type start struct {
	verb       string
	repository *repository
	gitDir     string
	write      bool
}

// authorise decides about a command by what is registered now.
func (f *Forge) authorise(key provision.PublicKey, command string) (denial, peer, start) {
	p := peer{command: command}
	f.mu.Lock()
	defer f.mu.Unlock()
	var mine []*deployKey
	for _, k := range f.store.keys {
		if k.row.key == key && f.takenUp(k) {
			mine = append(mine, k)
			p.row, p.home = *k.row, k.repository.path
		}
	}
	if command == "" {
		return deniedShell, p, start{}
	}
	c, err := parseCommand(command)
	p.words = c.words
	if err != nil || !slices.Contains(f.dialect.verbs(), c.verb) {
		return deniedCommand, p, start{}
	}
	p.path = c.path
	name, d := f.dialect.clonePath(c.path)
	if d != deniedNot {
		return d, p, start{}
	}
	p.path = string(name)
	write := c.verb == "git-receive-pack" || c.operation == lfsUpload
	r, _ := f.store.find(p.path) // a former name goes on working
	if r == nil {
		return deniedMissing, p, start{}
	}
	i := slices.IndexFunc(mine, func(k *deployKey) bool { return k.repository == r })
	switch {
	case i < 0:
		return deniedAccess, p, start{}
	case f.store.forbidden:
		return deniedPolicy, p, start{}
	case write && mine[i].access != provision.Write:
		return deniedWrite, p, start{}
	case write && r.options.Archived:
		return deniedArchived, p, start{}
	}
	mine[i].used = time.Now()
	return deniedNot, p, start{c.verb, r, r.gitDir, write}
}

// git runs a git command between the client and a bare repository. It is killed
// when ctx ends.
func (s *session) git(ctx context.Context, c start) uint32 {
	cmd := exec.CommandContext(ctx, "git", c.verb[len("git-"):], c.gitDir)
	cmd.Env = gitEnvironment(s.protocol)
	cmd.Stdout, cmd.Stderr = s.channel, s.channel.Stderr()
	cmd.WaitDelay = 10 * time.Second // for what git itself has started
	stdin, err := cmd.StdinPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		s.forge.logger.ErrorContext(ctx, "git does not start", slog.Any("error", err))
		return 128
	}
	// Not through cmd.Stdin: Wait would wait for the client to stop talking.
	s.forge.sim.tasks.Go(func() {
		_, _ = io.Copy(stdin, s.channel)
		_ = stdin.Close()
	})
	err = cmd.Wait()
	if e, ok := errors.AsType[*exec.ExitError](err); ok && e.ExitCode() > 0 {
		return uint32(e.ExitCode()) //nolint:gosec // 1 to 255
	}
	if err != nil {
		return 128
	}
	return 0
}
