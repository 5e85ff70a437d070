package service

import (
	"fmt"
	"os"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// maxStatus is how many bytes of a status are sent. systemd reads 4096 of a
// message.
const maxStatus = 1024

// Ready says that the service is up, or up again after Reloading.
func (m *Manager) Ready(status string) error { return m.notify("READY=1", statusLine(status)) }

// Reloading says that the service takes up a new configuration, until Ready.
func (m *Manager) Reloading() error { return m.notify("RELOADING=1", monotonicLine()) }

// Stopping says that the service is going down, and may take that long: the
// manager gives it the time, if that is more than the unit's TimeoutStopSec=.
func (m *Manager) Stopping(status string, within time.Duration) error {
	return m.notify("STOPPING=1", fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", within.Microseconds()), statusLine(status))
}

// Status says in one line how the service does, for systemctl status.
func (m *Manager) Status(text string) error { return m.notify(statusLine(text)) }

// Alive says that the service is not stuck. See Watchdog.
func (m *Manager) Alive() error { return m.notify("WATCHDOG=1") }

// Store leaves a duplicate of f with the manager, to be inherited under that
// name by the process that it starts after this one crashed. It drops a socket
// that is shut down, and everything when the unit is stopped and not started
// again at once. FileDescriptorStoreMax= limits how many there are; of too many
// only the manager's log tells. Storing the same once more changes nothing;
// something else of the same name is kept beside it: Discard that before.
func (m *Manager) Store(name string, f *os.File) error {
	err := checkName(name)
	if f == nil {
		err = os.ErrInvalid
	}
	if err != nil {
		return fmt.Errorf("leave a descriptor with the service manager: %w", err)
	}
	return m.notifyWith(f, "FDSTORE=1", "FDNAME="+name)
}

// Discard drops everything of that name that the manager keeps.
func (m *Manager) Discard(name string) error {
	if err := checkName(name); err != nil {
		return fmt.Errorf("take a descriptor back from the service manager: %w", err)
	}
	return m.notify("FDSTOREREMOVE=1", "FDNAME="+name)
}

func (m *Manager) notify(lines ...string) error { return m.notifyWith(nil, lines...) }

// notifyWith sends a message (sd_notify(3)), with a descriptor unless f is nil.
func (m *Manager) notifyWith(f *os.File, lines ...string) error {
	if m.socket == "" {
		return nil
	}
	if err := m.send(strings.Join(lines, "\n"), f); err != nil {
		what, _, _ := strings.Cut(lines[0], "=")
		return fmt.Errorf("tell the service manager %s: %w", what, err)
	}
	return nil
}

// statusLine returns text as one line of a message: a line break in it would
// begin another assignment, and systemd takes valid UTF-8 alone.
func statusLine(text string) string {
	text = strings.Map(func(r rune) rune {
		if unicode.IsControl(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, "?"))
	if len(text) > maxStatus {
		cut := maxStatus
		for !utf8.RuneStart(text[cut]) {
			cut--
		}
		text = text[:cut]
	}
	return "STATUS=" + text
}
