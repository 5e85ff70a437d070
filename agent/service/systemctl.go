package service

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Booted reports whether systemd runs this machine (sd_booted(3)).
func Booted() bool {
	info, err := os.Stat("/run/systemd/system")
	return err == nil && info.IsDir()
}

// needBooted is the error of what only a running systemd can do.
func needBooted(op string) error {
	if Booted() {
		return nil
	}
	return &Error{
		Op: op, Err: errors.New("systemd does not run this machine"),
		Next: "in an image that is being made, run deploykeyd service install; elsewhere run deploykeyd run under what runs your services",
	}
}

// offline lets every systemctl that this process starts know that no systemd
// runs, where that is so: it then works on the files alone, as in an image that
// is being made. In a chroot it finds that out by itself, in a container not.
func offline() {
	if !Booted() {
		_ = os.Setenv("SYSTEMD_OFFLINE", "1")
	}
}

// maxOutput is how much of a program's output is kept, in bytes.
const maxOutput = 64 << 10

// systemctl runs systemctl(1) and returns what it printed.
func systemctl(ctx context.Context, limit time.Duration, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	c := exec.CommandContext(ctx, "systemctl", append([]string{"--no-pager", "--no-ask-password"}, args...)...)
	out, err := output(c)
	switch {
	case errors.Is(err, exec.ErrNotFound):
		return "", fmt.Errorf("systemctl is not installed: %w", err)
	case ctx.Err() != nil:
		return "", fmt.Errorf("systemctl %s has not ended: %w", args[0], ctx.Err())
	case err != nil:
		return "", fmt.Errorf("systemctl %s: %w", args[0], err)
	}
	return out, nil
}

// output runs c, which gets no input and no language, and returns what it printed. The
// error has the last line that it wrote to its standard error.
func output(c *exec.Cmd) (string, error) {
	out, said := &capped{room: maxOutput}, &capped{room: maxOutput}
	c.Stdout, c.Stderr, c.WaitDelay = out, said, time.Second
	c.Env = append(os.Environ(), "LC_ALL=C", "SYSTEMD_COLORS=0")
	err := c.Run()
	if err != nil {
		lines := strings.Split(strings.TrimSpace(said.String()), "\n")
		if last := lines[len(lines)-1]; last != "" {
			err = fmt.Errorf("%w: %.300q", err, last)
		}
	}
	return strings.TrimSpace(out.String()), err
}

// capped keeps the beginning of what is written to it.
type capped struct {
	bytes.Buffer
	room int
}

func (c *capped) Write(p []byte) (int, error) {
	keep := min(len(p), c.room)
	c.room -= keep
	_, _ = c.Buffer.Write(p[:keep])
	return len(p), nil
}

func reload(ctx context.Context) error {
	if !Booted() {
		return nil
	}
	_, err := systemctl(ctx, callTimeout, "daemon-reload")
	return err
}

// Unit is what systemd says of a unit (org.freedesktop.systemd1(5)).
type Unit struct {
	Name    string
	Load    string // loaded, not-found, masked, bad-setting, error
	Active  string // active, reloading, inactive, failed, activating, deactivating
	Sub     string // running, auto-restart, dead and others
	Result  string // of its last run: success, exit-code, signal, timeout, watchdog and others
	Enabled string // enabled, disabled and others; "" without a file
	Path    string // of its file
	User    string // "" is root
	Restart string
	// Status is the exit status of its last run that did not end well, be it the
	// program or a step before it; 0 where there is none.
	Status int
}

// Look asks systemd about a unit; one that does not exist is not an error.
func Look(ctx context.Context, name string) (Unit, error) {
	if err := needBooted("ask systemd about " + name); err != nil {
		return Unit{}, err
	}
	out, err := systemctl(ctx, callTimeout, "show", "--property=LoadState,ActiveState,SubState,Result,UnitFileState,"+
		"FragmentPath,User,Restart,ExecStartPre,ExecMainStatus", "--", name)
	if err != nil {
		return Unit{}, failed("ask systemd about "+name, err, "run systemctl status "+name+" as root")
	}
	u := parseUnit(out)
	u.Name = name
	return u, nil
}

// stepStatus is how a step before the program ended, in systemctl's words.
var stepStatus = regexp.MustCompile(`code=exited ; status=(\d+)`)

// parseUnit reads the lines of systemctl show.
func parseUnit(text string) (u Unit) {
	var program, step string
	fields := map[string]*string{
		"LoadState": &u.Load, "ActiveState": &u.Active, "SubState": &u.Sub, "Result": &u.Result, "UnitFileState": &u.Enabled,
		"FragmentPath": &u.Path, "User": &u.User, "Restart": &u.Restart, "ExecMainStatus": &program,
	}
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		if field := fields[name]; field != nil {
			*field = value
		}
		if m := stepStatus.FindStringSubmatch(value); name == "ExecStartPre" && m != nil && m[1] != "0" {
			step = m[1]
		}
	}
	if u.Result == "exit-code" {
		u.Status, _ = strconv.Atoi(program)
		if step != "" {
			u.Status, _ = strconv.Atoi(step)
		}
	}
	return u
}

// Installed reports whether the unit has a file that can be started.
func (u Unit) Installed() bool { return u.Load != "not-found" && u.Load != "" }

// Stopped reports whether nothing of the unit runs or is about to.
func (u Unit) Stopped() bool { return u.Active == "inactive" || u.Active == "failed" || u.Active == "" }

// Wanted reports whether the unit runs or is about to, and was not asked to end.
func (u Unit) Wanted() bool { return !u.Stopped() && u.Active != "deactivating" }

// Failing reports whether the unit has ended and was not asked to. It may be
// about to be started again.
func (u Unit) Failing() bool { return u.Active == "failed" || u.Sub == "auto-restart" }

// String says in which state the unit is, for a person.
func (u Unit) String() string {
	if !u.Installed() {
		return u.Name + " is not installed"
	}
	text := fmt.Sprintf("%s is %s (%s)", u.Name, u.Active, u.Sub)
	switch {
	case u.Status != 0:
		text += fmt.Sprintf(", its last run ended with exit status %d", u.Status)
	case u.Result != "success" && u.Result != "":
		text += ", its last run ended with " + u.Result
	}
	return text
}

// Enable makes systemd start the unit when the machine starts.
func Enable(ctx context.Context) error {
	_, err := systemctl(ctx, callTimeout, "enable", UnitName)
	return failed("enable "+UnitName, err, "run it as root")
}

// Start asks systemd to start the unit, and does not wait until it has: a start
// job may be ordered after what waits for this program.
func Start(ctx context.Context) error {
	const op = "start " + UnitName
	if err := needBooted(op); err != nil {
		return err
	}
	_, err := systemctl(ctx, callTimeout, "start", "--no-block", UnitName)
	return failed(op, err, "run it as root; deploykeyd service install writes the unit")
}

// Stop stops the unit, which takes its keys off the forges, and returns when
// systemd has it so or ctx ends.
func Stop(ctx context.Context) error {
	const op = "stop " + UnitName
	if err := needBooted(op); err != nil {
		return err
	}
	const limit = time.Hour // a limit of the unit's own ends it long before
	_, err := systemctl(ctx, limit, "stop", UnitName)
	return failed(op, err, "run it as root; look at systemctl status "+UnitName)
}

// LastWords returns the last lines that the unit's programs logged since the
// machine started, of which there may be none.
func LastWords(ctx context.Context, lines int) string {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	// Not --unit=, which adds systemd's own words.
	out, err := output(exec.CommandContext(ctx, "journalctl", "--no-pager", "--boot", "--output=cat", "--lines="+strconv.Itoa(lines), "_SYSTEMD_UNIT="+UnitName))
	if err != nil {
		return ""
	}
	return out
}

var versionLine = regexp.MustCompile(`^systemd (\d+)`)

// tellOldSystemd warns of a systemd that takes no directory of credentials.
func tellOldSystemd(ctx context.Context, say func(string)) {
	const since = 251 // systemd.exec(5), LoadCredential=
	out, err := systemctl(ctx, callTimeout, "--version")
	m := versionLine.FindStringSubmatch(out)
	if err != nil || m == nil {
		return
	}
	if version, err := strconv.Atoi(m[1]); err == nil && version < since {
		say(fmt.Sprintf("warning: systemd %d hands in no directory of credentials, and does not start the unit so; "+
			"name each one in a drop-in (systemctl edit %s) with LoadCredential=deploykeyd_NAME:%s/NAME, as the unit file says",
			version, UnitName, CredentialsFolder))
	}
}
