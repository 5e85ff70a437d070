package unixsock

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"
)

// maxReply is the most of getent's output that is kept, in bytes.
const maxReply = 64 << 10

// getentNotFound is getent's exit status when a key has no entry (getent(1)).
const getentNotFound = 2

// getent resolves names of a database, passwd or group, with getent(1), which
// asks the sources that the machine is configured with: a static binary by
// itself would see /etc/passwd and /etc/group only, and neither SSSD's users
// nor systemd's dynamic ones.
func getent(database string) func(ctx context.Context, name string) (uint32, error) {
	return func(ctx context.Context, name string) (uint32, error) {
		program, err := getentPath()
		if err != nil {
			return 0, err
		}
		cmd := exec.CommandContext(ctx, program, database, name)
		cmd.Env = []string{"LC_ALL=C"}
		cmd.Dir = "/"
		cmd.WaitDelay = time.Second
		out := &capped{room: maxReply}
		cmd.Stdout = out
		err = cmd.Run()
		if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == getentNotFound {
			return 0, ErrUnknownName
		}
		if err != nil {
			return 0, fmt.Errorf("getent %s: %w", database, errors.Join(err, ctx.Err()))
		}
		id, err := parseReply(out.String())
		if err != nil {
			return 0, fmt.Errorf("getent %s: %w", database, err)
		}
		return id, nil
	}
}

// getentPath returns where getent lies. PATH is not asked: it is the caller's.
func getentPath() (string, error) {
	for _, p := range []string{"/usr/bin/getent", "/bin/getent", "/run/current-system/sw/bin/getent"} {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", errors.New("no getent in /usr/bin or /bin: install it (package libc-bin, glibc-common or musl-utils), or list numeric ids")
}

// parseReply reads the id from the first line of passwd(5) or group(5): in both
// it is the third field, and at least one more follows. A group's members may be
// many, and the end of them missing.
func parseReply(reply string) (uint32, error) {
	line, _, _ := strings.Cut(reply, "\n")
	fields := strings.SplitN(line, ":", 4)
	if len(fields) < 4 {
		return 0, errors.New("the reply is no line of the database")
	}
	id, err := strconv.ParseUint(fields[2], 10, 32)
	if err != nil {
		return 0, errors.New("the reply has no numeric id")
	}
	return uint32(id), nil
}

// capped keeps the first bytes of what is written to it.
type capped struct {
	bytes.Buffer
	room int
}

func (c *capped) Write(p []byte) (int, error) {
	n := min(len(p), c.room)
	c.room -= n
	_, _ = c.Buffer.Write(p[:n])
	return len(p), nil
}
