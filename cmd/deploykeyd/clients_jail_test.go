package main_test

import (
	"context"
	"fmt"
	"os/exec"
	"os/user"
	"strings"
	"syscall"
	"testing"
)

// jail is where the listed user runs a program: a mount namespace with other
// folders in the place of /etc/ssh and of the user's home directory.
type jail struct {
	etc, home string
	gid       int
	env       []string // beyond the usual
}

type result struct {
	status int
	said   string
}

// run runs a command to its end, in the home directory and without a terminal at
// which it could ask.
func (j jail) run(t *testing.T, stdin string, argv []string) result {
	t.Helper()
	listed, err := user.Lookup(listedUser)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	script := `mount --bind "$1" /etc/ssh; mount --bind "$2" "$3"; cd "$3"; shift 3; exec setpriv "$@"`
	args := []string{
		"--mount", "sh", "-ec", script, "sh", j.etc, j.home, listed.HomeDir,
		"--reuid", listedUser, "--regid", fmt.Sprint(j.gid), "--clear-groups", "--pdeathsig", "KILL", "--",
	}
	c := exec.CommandContext(ctx, "unshare", append(args, argv...)...)
	c.Env = append([]string{"PATH=/usr/bin:/bin", "HOME=" + listed.HomeDir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1"}, j.env...)
	c.Stdin = strings.NewReader(stdin)
	c.WaitDelay = patience // for what the program itself has started
	c.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	status, stdout, stderr := finish(t, c)
	return result{status, stdout + stderr}
}
