package unixsock

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"syscall"
	"time"
)

// MaxCommandLine is the most that CommandLine reads, in bytes.
const MaxCommandLine = 64 << 10

// MaxGroups is NGROUPS_MAX, the most supplementary groups that a process has
// (getgroups(2)).
const MaxGroups = 1 << 16

// maxFact bounds each of the small files that Process reads.
const maxFact = 4 << 10

// Errors of Peer.CommandLine.
var (
	// ErrNoProcess means that the peer's process is not to be seen: it belongs
	// to another pid namespace, or /proc hides it, or it has gone already.
	ErrNoProcess = errors.New("the peer's process cannot be seen")
	// ErrCut means that the command line is longer than what was asked for.
	ErrCut = errors.New("the peer's command line is too long")
)

// Peer is the process at the other end of a connection, as the kernel knew it
// when it connected. All of it is fact, except what CommandLine returns.
//
// CommandLine and Process read /proc and may wait for as long as the peer likes:
// the kernel reads a command line out of the peer's memory, which may be a file
// of a file system that the peer itself serves (fuse(4)).
type Peer struct {
	UID, GID uint32 // effective ids, in our user namespace
	// Groups returns the supplementary groups, among which GID may be or not, or
	// none when they are more than most. It asks the kernel each time, which
	// keeps what was true when the peer connected: there may be MaxGroups, which
	// take 256 KiB and some milliseconds. It never waits for the peer. It returns
	// none either when the connection has been closed or the kernel is older than
	// 4.13. Nil stands for a peer without groups.
	Groups func(most int) []uint32
	PID    int32 // 0 when it lies in a pid namespace that we do not see
	// Proven says that the kernel vouches for the process whose facts and
	// command line are read: it is the one that connected, and no other that
	// was given its pid.
	Proven bool

	socket   syscall.RawConn // the connection; nil for a Peer that PeerOf did not return
	accepted time.Duration   // when PeerOf was called, by bootClock

	// process is the peer's folder in /proc, held open: it goes on standing for
	// that process when its pid has been given to another. Nil when unknown,
	// and before OpenProcess.
	process *os.Root
}

// Close lets go of the peer's process, if it was opened. The rest of p stays
// usable.
func (p Peer) Close() error {
	if p.process == nil {
		return nil
	}
	return p.process.Close()
}

// CommandLine returns the arguments of the peer's process, the program's name
// first. They are the peer's own claim: a process can show what it likes. At
// most limit bytes and never more than MaxCommandLine are read; of a longer
// command line the whole arguments among those come with ErrCut.
func (p Peer) CommandLine(limit int) ([]string, error) {
	limit = min(limit, MaxCommandLine)
	text, err := p.read("cmdline", limit+1)
	if err != nil {
		return nil, err
	}
	if len(text) == 0 {
		return nil, ErrNoProcess // a process that has ended and waits for its parent
	}
	if len(text) > limit {
		text = text[:limit]
		if i := bytes.LastIndexByte(text, 0); i >= 0 {
			return split(text[:i]), ErrCut
		}
		return nil, ErrCut
	}
	return split(bytes.TrimSuffix(text, []byte{0})), nil
}

func split(text []byte) []string { return strings.Split(string(text), "\x00") }

// Process is what the kernel says about a process. Each field is empty where it
// may not be read.
type Process struct {
	Exe    string // path of the program; readable for our own user's processes or by root
	Comm   string // its short name, which the process may change
	Cgroup string // its control group, which names the systemd unit
}

// Process returns what is known about the peer's process.
func (p Peer) Process() Process {
	if p.process == nil {
		return Process{}
	}
	var facts Process
	facts.Exe, _ = p.process.Readlink("exe")
	comm, _ := p.read("comm", maxFact)
	facts.Comm = strings.TrimSuffix(string(comm), "\n")
	groups, _ := p.read("cgroup", maxFact)
	facts.Cgroup = systemdGroup(string(groups))
	return facts
}

// systemdGroup picks, from the lines of /proc/pid/cgroup (cgroups(7)), the one
// hierarchy of version 2, or else the one in which systemd names its units.
func systemdGroup(lines string) string {
	var named string
	for line := range strings.Lines(lines) {
		line = strings.TrimSuffix(line, "\n")
		if path, ok := strings.CutPrefix(line, "0::"); ok && path != "/" {
			return path
		}
		if _, path, ok := strings.Cut(line, ":name=systemd:"); ok {
			named = path
		}
	}
	return named
}

// read returns at most limit bytes of a file in the peer's folder. Once the
// process has gone the kernel refuses that, whoever has its pid by then.
func (p Peer) read(name string, limit int) ([]byte, error) {
	if p.process == nil {
		return nil, ErrNoProcess
	}
	f, err := p.process.Open(name)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	defer func() { _ = f.Close() }()
	text, err := io.ReadAll(io.LimitReader(f, int64(limit)))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoProcess, err)
	}
	return text, nil
}
