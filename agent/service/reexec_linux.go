package service

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"syscall"

	"golang.org/x/sys/unix"
)

// Reexec executes the program at path in this process, with argv, whose first is
// the program's name, and hands it the files, which it finds by their names in
// Inherited. It has our pid, the environment that we were started with and the
// same service manager; every other descriptor is closed, by and by everything
// that runs here ends. It returns only with an error, and then nothing has
// changed.
//
// Files that have an owner here, such as a listener, are left alone: close what
// File returned of it after an error. A signal that comes before the new program
// asks for it has its default effect there, so it should ask first of all; one
// that has come just before the execution is lost, unless it was asked for
// between the two.
func (m *Manager) Reexec(path string, argv []string, files map[string]*os.File) error {
	if err := m.reexec(path, argv, files); err != nil {
		return fmt.Errorf("execute %s in place: %w", path, err)
	}
	return nil
}

func (m *Manager) reexec(path string, argv []string, files map[string]*os.File) error {
	if len(argv) == 0 {
		return errors.New("no name for the program")
	}
	// No program may be started in between: it would inherit the keys.
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	list, err := passOn(files)
	defer func() {
		for _, h := range list {
			_ = unix.Close(h.fd)
		}
	}()
	if err != nil {
		return err
	}
	environment := os.Environ()
	for name, value := range m.given {
		environment = append(environment, name+"="+value)
	}
	environment = append(environment, handoverVariable+"="+handoverText(list))
	return execute(path, argv, environment)
}

// passOn duplicates the files to descriptors that stay open on execution.
func passOn(files map[string]*os.File) (list []handedOver, err error) {
	if len(files) > maxInherited {
		return nil, fmt.Errorf("%d files are more than the %d that can be handed over", len(files), maxInherited)
	}
	for _, name := range slices.Sorted(maps.Keys(files)) {
		if err := checkName(name); err != nil {
			return list, err
		}
		raw, err := files[name].SyscallConn()
		if err != nil {
			return list, fmt.Errorf("%s: %w", name, err)
		}
		duplicate := -1
		controlErr := raw.Control(func(fd uintptr) { duplicate, err = unix.FcntlInt(fd, unix.F_DUPFD, firstInherited) })
		if err := errors.Join(controlErr, os.NewSyscallError("fcntl", err)); err != nil {
			return list, fmt.Errorf("%s: %w", name, err)
		}
		list = append(list, handedOver{duplicate, name})
	}
	return list, nil
}

// execute is syscall.Exec, which lowers the limit on open files to what it was
// at the start, and leaves it there when it fails.
func execute(path string, argv, environment []string) error {
	var limit unix.Rlimit
	limitErr := unix.Getrlimit(unix.RLIMIT_NOFILE, &limit)
	err := syscall.Exec(path, argv, environment)
	if limitErr == nil {
		err = errors.Join(err, unix.Setrlimit(unix.RLIMIT_NOFILE, &limit))
	}
	return err
}
