package service

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/kardianos/service"
)

const (
	// Name is what every service manager knows the daemon by.
	Name = "deploykeyd"
	// UnitName is its name under systemd.
	UnitName = Name + ".service"
)

// Error says which step with a service manager failed, and what a person can do
// about it.
type Error struct {
	Op   string
	Err  error
	Next string
}

func (e *Error) Error() string { return e.Op + ": " + e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// failed returns the error of a step; nil when err is.
func failed(op string, err error, next string) error {
	if err == nil {
		return nil
	}
	if known, ok := errors.AsType[*Error](err); ok {
		return known // the step inside knows better
	}
	return &Error{Op: op, Err: err, Next: next}
}

// unitFolder is where unit files are that this program or a person writes.
const unitFolder = "/etc/systemd/system"

// packagedFolders are where packages install theirs (systemd.unit(5)).
func packagedFolders() []string {
	return []string{"/usr/local/lib/systemd/system", "/usr/lib/systemd/system", "/lib/systemd/system"}
}

// ownUnit is the unit file that Install writes.
func ownUnit() string { return filepath.Join(unitFolder, UnitName) }

// mark begins a unit file that Install wrote: no other is changed or removed.
const mark = "# Written by \"deploykeyd service install\" for a machine without the package.\n"

// Packaged returns the path of the unit file that a package installed, or "".
func Packaged() string {
	for _, folder := range packagedFolders() {
		path := filepath.Join(folder, UnitName)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

// Files are what Install gives systemd.
type Files struct {
	Unit     func(program string) []byte // the unit that runs the program at that path
	Sysusers []byte                      // the daemon's user (sysusers.d(5))
}

// Install makes the service manager start the daemon when the machine starts,
// and starts nothing now. Under systemd it also makes the daemon's user and the
// directories of the configuration. A packaged unit is enabled as it is: what an
// earlier Install wrote in its way is removed. Otherwise the unit names the
// running program, which nobody but root may be able to change. Done twice, it
// changes nothing the second time. Each thing done is told to say in one line.
func Install(ctx context.Context, files Files, say func(string)) error {
	if runtime.GOOS != "linux" {
		s, err := system("", &program{})
		if err == nil {
			err = within(ctx, s.Install)
		}
		return failed("install the service", err, "run it as an administrator")
	}
	if err := needRoot("install the service"); err != nil {
		return err
	}
	offline()
	unit, err := unitText(files)
	if err != nil {
		return err
	}
	if err := makeAccount(ctx, files.Sysusers, say); err != nil {
		return failed("make the user "+Name, err, "make it by hand: useradd --system --user-group --home-dir /var/lib/deploykeyd --shell /usr/sbin/nologin deploykeyd")
	}
	if err := makeFolders(say); err != nil {
		return failed("make the configuration's directories", err, "look at what is at that path")
	}
	if err := writeUnit(ctx, unit, say); err != nil {
		return failed("install the unit", err, "look at "+unitFolder+" and at systemctl status "+UnitName)
	}
	tellOldSystemd(ctx, say)
	return nil
}

// unitText returns the text of the unit to write; "" when a package has one.
func unitText(files Files) (string, error) {
	if Packaged() != "" {
		return "", nil
	}
	program, err := Program()
	if err != nil {
		return "", err
	}
	return mark + string(files.Unit(program)), nil
}

// writeUnit brings the unit file to text, or takes ours away where text is "",
// and enables the unit.
func writeUnit(ctx context.Context, text string, say func(string)) error {
	there, err := readOwn(ownUnit())
	if err != nil {
		return err
	}
	if there != "" && there != text {
		if err := os.Remove(ownUnit()); err != nil {
			return err
		}
		say("removed the old " + ownUnit())
		there = ""
	}
	if text != "" && there == "" {
		const folderMode = 0o755
		if err := os.MkdirAll(unitFolder, folderMode); err != nil {
			return err
		}
		s, err := system(text, &program{})
		if err != nil {
			return err
		}
		if err := within(ctx, s.Install); err != nil {
			return errors.Join(err, os.Remove(ownUnit()))
		}
		say("wrote and enabled " + ownUnit())
		return nil
	}
	if path := Packaged(); path != "" {
		say("the package's unit " + path + " is used as it is")
	}
	if err := reload(ctx); err != nil {
		return err
	}
	if _, err := systemctl(ctx, callTimeout, "enable", UnitName); err != nil {
		return err
	}
	say("enabled " + UnitName)
	return nil
}

// readOwn returns the text of the unit file at path, or "" where there is none.
// One that somebody else put there is an error.
func readOwn(path string) (string, error) {
	info, err := os.Lstat(path)
	if errors.Is(err, os.ErrNotExist) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	if target, err := os.Readlink(path); err == nil && target == os.DevNull {
		return "", &Error{Op: "install the unit", Err: errors.New(UnitName + " is masked"), Next: "systemctl unmask " + UnitName}
	}
	text, err := readRegular(path, info)
	if err != nil {
		return "", err
	}
	if !strings.HasPrefix(text, mark) {
		return "", &Error{
			Op: "install the unit", Err: errors.New(path + " was not written by this program"),
			Next: "enable that one with systemctl enable " + UnitName + ", or remove it",
		}
	}
	return text, nil
}

// Uninstall takes away what Install wrote, and disables the unit. The daemon has
// to be stopped before. The user, the configuration and the credentials stay.
func Uninstall(ctx context.Context, say func(string)) error {
	if runtime.GOOS != "linux" {
		s, err := system("", &program{})
		if err == nil {
			err = within(ctx, s.Uninstall)
		}
		return failed("uninstall the service", err, "run it as an administrator")
	}
	if err := needRoot("uninstall the service"); err != nil {
		return err
	}
	offline()
	there, err := readOwn(ownUnit())
	if err != nil {
		return err
	}
	if there == "" {
		say("there is no " + ownUnit() + " to remove")
		return nil
	}
	s, err := system(there, &program{})
	if err == nil {
		err = within(ctx, s.Uninstall)
	}
	if err != nil {
		return failed("uninstall the unit", err, "systemctl disable "+UnitName+", and remove "+ownUnit())
	}
	say("disabled and removed " + ownUnit())
	return nil
}

// system returns this system's service manager. On Linux it is systemd alone,
// whether or not it runs: in the image that is being made it does not.
func system(script string, p *program) (service.Service, error) {
	c := &service.Config{
		Name: Name, DisplayName: Name, Description: "Git access for builds with a deploy key that nobody can read",
		Arguments: []string{"run"},
		Option:    service.KeyValue{"SystemdScript": script, "RunWait": p.wait, "RunAtLoad": true},
	}
	if runtime.GOOS != "linux" {
		return service.New(p, c)
	}
	all := service.AvailableSystems()
	i := slices.IndexFunc(all, func(s service.System) bool { return s.String() == "linux-systemd" })
	if i < 0 {
		return nil, errors.New("this program was built without systemd")
	}
	return all[i].New(p, c)
}

// within runs a step that knows no context, and gives it up when ctx ends.
func within(ctx context.Context, step func() error) error {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- step() }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return fmt.Errorf("the service manager does not answer: %w", ctx.Err())
	}
}

// programPath is what may be written into a unit file as it is.
var programPath = regexp.MustCompile(`^/[A-Za-z0-9/._+@-]+$`)

// Program returns the path of the running program, which root will execute from
// a unit file: so root alone may be able to change it.
func Program() (string, error) {
	path, err := os.Executable()
	if err == nil {
		path, err = filepath.EvalSymlinks(path)
	}
	if err == nil {
		err = checkProgram(path)
	}
	return path, failed("use this program as a service", err,
		"install the package, or copy the program as root: install "+path+" /usr/local/bin/deploykeyd, and run that one")
}

func checkProgram(path string) error {
	if !programPath.MatchString(path) {
		return fmt.Errorf("the path %q has characters that a unit file gives another meaning", path)
	}
	for _, hidden := range []string{"/home/", "/root/", "/run/user/"} {
		if strings.HasPrefix(path, hidden) {
			return fmt.Errorf("the service does not see %s, where %s is", hidden, path)
		}
	}
	for p := path; ; p = filepath.Dir(p) {
		info, err := os.Lstat(p)
		if err != nil {
			return err
		}
		if !ownedByRoot(info) || info.Mode().Perm()&0o022 != 0 {
			return fmt.Errorf("others than root can change %s", p)
		}
		if p == filepath.Dir(p) {
			return nil
		}
	}
}

func needRoot(op string) error {
	if os.Geteuid() == 0 {
		return nil
	}
	return &Error{Op: op, Err: os.ErrPermission, Next: "run it as root"}
}

// callTimeout bounds one call of a program that the service manager answers.
const callTimeout = 30 * time.Second
