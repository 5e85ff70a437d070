package service

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

// gateFile is the name of the drop-in.
const gateFile = "50-deploykeyd-gate.conf"

// Agents are the units of the CI agents that are known. GitHub names its runners'
// units after the repository and the machine.
func Agents() []string {
	return []string{"jenkins-agent", "bamboo-agent", "buildkite-agent", "actions.runner.*", "gitlab-runner"}
}

// serviceName is a service's name (systemd.unit(5)): it has no slash, so that it
// leads nowhere else.
var serviceName = regexp.MustCompile(`^[A-Za-z0-9:_.\\@-]+\.service$`)

// maxUnitName is the longest name of a unit in bytes (systemd.unit(5)).
const maxUnitName = 255

// GateUnits returns the full names of the units that name stands for: one, with
// or without ".service", or with a * all those that systemd has a file of.
func GateUnits(ctx context.Context, name string) ([]string, error) {
	const op, next = "gate a CI agent", "give the name of its service unit, as systemctl list-units --type=service shows it"
	if !strings.HasSuffix(name, ".service") {
		name += ".service"
	}
	if plain := strings.ReplaceAll(name, "*", "x"); !serviceName.MatchString(plain) || len(name) > maxUnitName {
		return nil, &Error{Op: op, Err: fmt.Errorf("%.300q is not the name of a service unit", name), Next: next}
	}
	if name == UnitName {
		return nil, &Error{Op: op, Err: errors.New(UnitName + " cannot wait for itself"), Next: next}
	}
	if !strings.Contains(name, "*") {
		return []string{name}, nil
	}
	offline()
	out, err := systemctl(ctx, callTimeout, "list-unit-files", "--no-legend", "--type=service", "--", name)
	if err != nil {
		return nil, failed(op, err, next)
	}
	var units []string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); len(words) > 0 && serviceName.MatchString(words[0]) && words[0] != UnitName {
			units = append(units, words[0])
		}
	}
	if len(units) == 0 {
		return nil, &Error{
			Op: op, Err: fmt.Errorf("no unit has a name like %s", name),
			Next: "install the agent first, or give the full name that its unit will have",
		}
	}
	return units, nil
}

// GatePath returns where the drop-in of a unit is.
func GatePath(unit string) string { return filepath.Join(unitFolder, unit+".d", gateFile) }

// GateText returns the drop-in for a unit, which runs this program: gate makes it
// for a path. A unit that is started again however it ended stays one.
func GateText(u Unit, gate func(program string) []byte) (string, error) {
	program, err := Program()
	if err != nil {
		return "", err
	}
	text := string(gate(program))
	if u.Restart == "always" {
		text = strings.Replace(text, "Restart=on-failure", "Restart=always", 1)
	}
	return text, nil
}

// WriteGate writes a unit's drop-in, and reports whether that changed anything.
// The unit need not exist yet. What it runs now goes on: the gate is asked when
// it starts next.
func WriteGate(ctx context.Context, unit, text string) (changed bool, err error) {
	op := "gate " + unit
	if err := needRoot(op); err != nil {
		return false, err
	}
	path := GatePath(unit)
	if there, err := readGate(path); err == nil && there == text {
		return false, nil
	}
	if err := writeGate(path, text); err != nil {
		return false, failed(op, err, "look at what is at "+path)
	}
	return true, failed(op, reload(ctx), "systemctl daemon-reload")
}

// RemoveGate removes a unit's drop-in, and reports whether there was one.
func RemoveGate(ctx context.Context, unit string) (removed bool, err error) {
	op := "remove the gate of " + unit
	if err := needRoot(op); err != nil {
		return false, err
	}
	path := GatePath(unit)
	err = os.Remove(path)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, failed(op, err, "look at what is at "+path)
	}
	_ = os.Remove(filepath.Dir(path)) // stays while it holds anything else
	return true, failed(op, reload(ctx), "systemctl daemon-reload")
}

// Gates returns the units that have a gate.
func Gates() []string {
	paths, _ := filepath.Glob(filepath.Join(unitFolder, "*.d", gateFile)) // a pattern of ours is never bad
	var units []string
	for _, path := range paths {
		units = append(units, strings.TrimSuffix(filepath.Base(filepath.Dir(path)), ".d"))
	}
	slices.Sort(units)
	return units
}

func readGate(path string) (string, error) {
	info, err := os.Lstat(path)
	if err != nil {
		return "", err
	}
	return readRegular(path, info)
}

// writeGate puts the file in place whole. Its temporary name is none that
// systemd reads.
func writeGate(path, text string) error {
	const folderMode, fileMode = 0o755, 0o644
	folder := filepath.Dir(path)
	if err := os.MkdirAll(folder, folderMode); err != nil {
		return err
	}
	temp, err := os.CreateTemp(folder, "."+gateFile+".new-*")
	if err != nil {
		return err
	}
	_, err = temp.WriteString(text)
	err = errors.Join(err, temp.Chmod(fileMode), temp.Sync(), temp.Close())
	if err == nil {
		err = os.Rename(temp.Name(), path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(temp.Name()))
	}
	return nil
}
