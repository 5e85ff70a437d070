//go:build linux

package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// account is a user that exists in the demo's namespace only.
type account struct {
	name string
	id   uint32
}

// The three users of the demo, with ids that distributions leave free.
var (
	daemonUser = account{"deploykeyd", 61801}
	buildUser  = account{"build", 61802}
	otherUser  = account{"mallory", 61803}
)

// stage is the demo's own folder, and the mounts that make programs see it.
type stage struct{ dir string }

func newStage() (*stage, error) {
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return nil, fmt.Errorf("make the mounts private: %w", err)
	}
	dir, err := os.MkdirTemp("", "deploykeyd-demo-")
	if err != nil {
		return nil, err
	}
	s := &stage{dir: dir}
	if err := s.build(); err != nil {
		return nil, errors.Join(err, s.strike())
	}
	return s, nil
}

func (s *stage) path(parts ...string) string {
	return filepath.Join(append([]string{s.dir}, parts...)...)
}

func (s *stage) build() error {
	if err := os.Chmod(s.dir, 0o755); err != nil { //nolint:gosec // G302: other users must reach their homes in it
		return err
	}
	owners := map[string]account{"run": daemonUser, "state": daemonUser, "build": buildUser, "mallory": otherUser, "log": {}, "etc": {}}
	for name, owner := range owners {
		mode := fs.FileMode(0o755)
		if name == "state" {
			mode = 0o700
		}
		if err := os.Mkdir(s.path(name), mode); err != nil {
			return err
		}
		if err := os.Chown(s.path(name), int(owner.id), int(owner.id)); err != nil {
			return err
		}
	}
	if err := s.overlaySSH(); err != nil {
		return err
	}
	var users, groups strings.Builder
	for _, a := range []account{daemonUser, buildUser, otherUser} {
		fmt.Fprintf(&users, "%s:x:%d:%d::%s:/bin/sh\n", a.name, a.id, a.id, s.path(a.name))
		fmt.Fprintf(&groups, "%s:x:%d:\n", a.name, a.id)
	}
	hosts := "127.0.0.1 gitea.test\n127.0.0.2 github.test\n127.0.0.3 bitbucket-cloud.test\n"
	return errors.Join(
		s.overlay("/etc/passwd", users.String()),
		s.overlay("/etc/group", groups.String()),
		s.overlay("/etc/hosts", hosts))
}

// overlay shows programs the file with more lines in front.
func (s *stage) overlay(file, lines string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	copied := s.path(filepath.Base(file))
	if err := os.WriteFile(copied, append([]byte(lines), text...), 0o644); err != nil { //nolint:gosec // G306: as public as the original
		return err
	}
	return bind(copied, file)
}

// overlaySSH shows programs an /etc/ssh with nothing in it but the include that
// every distribution's ssh_config begins with.
func (s *stage) overlaySSH() error {
	if err := os.MkdirAll(s.path("ssh", "ssh_config.d"), 0o755); err != nil { //nolint:gosec // G301: as public as the original
		return err
	}
	include := []byte("Include /etc/ssh/ssh_config.d/*.conf\n")
	if err := os.WriteFile(s.path("ssh", "ssh_config"), include, 0o644); err != nil { //nolint:gosec // G306: as above
		return err
	}
	return bind(s.path("ssh"), "/etc/ssh")
}

func bind(from, to string) error {
	if err := syscall.Mount(from, to, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s over %s: %w", from, to, err)
	}
	return nil
}

// strike removes the folder. The mounts go with the namespace.
func (s *stage) strike() error {
	var errs []error
	for _, target := range []string{"/etc/passwd", "/etc/group", "/etc/hosts", "/etc/ssh"} {
		if err := syscall.Unmount(target, 0); err != nil && !errors.Is(err, syscall.EINVAL) {
			errs = append(errs, err)
		}
	}
	return errors.Join(append(errs, os.RemoveAll(s.dir))...)
}
