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

// Getent resolves a user name with getent(1), which asks the sources that the
// machine is configured with: a static binary by itself would see /etc/passwd
// only, and neither SSSD's users nor systemd's dynamic ones.
func Getent(ctx context.Context, name string) (uint32, error) {
	program, err := getentPath()
	if err != nil {
		return 0, err
	}
	cmd := exec.CommandContext(ctx, program, "passwd", name)
	cmd.Env = []string{"LC_ALL=C"}
	cmd.Dir = "/"
	cmd.WaitDelay = time.Second
	out := &capped{room: maxReply}
	cmd.Stdout = out
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok && exit.ExitCode() == getentNotFound {
		return 0, ErrUnknownUser
	}
	if err != nil {
		return 0, fmt.Errorf("getent passwd: %w", errors.Join(err, ctx.Err()))
	}
	return parsePasswd(out.String())
}

// getentPath returns where getent lies. PATH is not asked: it is the caller's.
func getentPath() (string, error) {
	for _, p := range []string{"/usr/bin/getent", "/bin/getent", "/run/current-system/sw/bin/getent"} {
		if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() {
			return p, nil
		}
	}
	return "", errors.New("no getent in /usr/bin or /bin: install it (package libc-bin, glibc-common or musl-utils), or list numeric user ids")
}

// parsePasswd reads the uid from one line of passwd(5).
func parsePasswd(reply string) (uint32, error) {
	line, _, _ := strings.Cut(reply, "\n")
	fields := strings.Split(line, ":")
	if len(fields) < 4 {
		return 0, errors.New("getent passwd: the reply is no passwd line")
	}
	id, err := strconv.ParseUint(fields[2], 10, 32)
	if err != nil {
		return 0, errors.New("getent passwd: the reply has no numeric user id")
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
