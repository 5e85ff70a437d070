package service

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"
)

// The variables by which a service manager talks to a process: sd_notify(3),
// sd_watchdog_enabled(3), sd_listen_fds(3).
const (
	notifySocketVariable  = "NOTIFY_SOCKET"
	watchdogVariable      = "WATCHDOG_USEC"
	watchdogPIDVariable   = "WATCHDOG_PID"
	listenPIDVariable     = "LISTEN_PID"
	listenFDsVariable     = "LISTEN_FDS"
	listenFDNamesVariable = "LISTEN_FDNAMES"
)

// handoverVariable names the descriptors that Reexec hands over, whatever their
// numbers: the pid, then number=name for each, with colons between. LISTEN_FDS
// would have them moved to 3 and up, where a Go program has its own, such as the
// runtime's epoll: they could not be put back if the execution fails, and until
// then all that runs beside it would use the wrong ones.
const handoverVariable = "DEPLOYKEYD_FDS"

// sendTimeout is how long a message waits for a place in the manager's queue.
// The manager does not read while it loads units anew.
const sendTimeout = 10 * time.Second

// maxSocketPath is the longest path of a Unix socket in bytes (unix(7)).
const maxSocketPath = 107

// Manager speaks with the service manager that started this process. It is safe
// for concurrent use.
type Manager struct {
	socket   string            // "" when nobody listens
	watchdog time.Duration     // 0 when nobody watches
	given    map[string]string // what a process executed in place is to find again
	timeout  time.Duration

	mu        sync.Mutex
	inherited map[string]*os.File
}

// FromEnvironment reads what a service manager, or the process that executed us
// by Reexec, says in the environment, and removes that from there, so that no
// child sees it. Call it once, before anything else starts a program: until then
// a child would get the inherited descriptors too. Without a service manager the
// Manager does nothing. An error means that a variable cannot be of a service
// manager, or names descriptors that this process did not inherit.
func FromEnvironment() (*Manager, error) {
	given := map[string]string{}
	for _, name := range []string{
		notifySocketVariable, watchdogVariable, watchdogPIDVariable,
		listenPIDVariable, listenFDsVariable, listenFDNamesVariable, handoverVariable,
	} {
		if value, found := os.LookupEnv(name); found {
			given[name] = value
			if err := os.Unsetenv(name); err != nil {
				return nil, fmt.Errorf("clean the environment: %w", err)
			}
		}
	}
	m := &Manager{given: map[string]string{}, timeout: sendTimeout}
	for _, name := range []string{notifySocketVariable, watchdogVariable, watchdogPIDVariable} {
		if value, found := given[name]; found {
			m.given[name] = value
		}
	}
	var socketErr, watchdogErr, filesErr error
	m.socket, socketErr = notifySocket(given[notifySocketVariable])
	m.watchdog, watchdogErr = watchdogInterval(given[watchdogVariable], given[watchdogPIDVariable])
	m.inherited, filesErr = inheritFiles(given)
	if err := errors.Join(socketErr, watchdogErr, filesErr); err != nil {
		closeFiles(m.inherited)
		return nil, fmt.Errorf("the environment is not a service manager's: %w; start the program by systemctl, or without these variables", err)
	}
	return m, nil
}

// Watchdog returns how often, at least, Alive is to be called, or 0 when nobody
// waits for it: half the time after which the manager takes the process for dead.
func (m *Manager) Watchdog() time.Duration { return m.watchdog / 2 }

// Listens reports whether there is a manager that hears what it is told.
func (m *Manager) Listens() bool { return m.socket != "" }

// Inherited returns what an earlier process left for this one, by the names that
// it gave them, each closed on execution. Of several with one name only the first
// is open. They belong to the caller; a second call returns none.
func (m *Manager) Inherited() map[string]*os.File {
	m.mu.Lock()
	defer m.mu.Unlock()
	files := m.inherited
	m.inherited = nil
	return files
}

// notifySocket checks the address that messages go to: a path, or an abstract
// name after "@".
func notifySocket(address string) (string, error) {
	switch {
	case address == "":
		return "", nil
	case len(address) > maxSocketPath:
		return "", fmt.Errorf("%s has %d bytes and a socket's address may have %d", notifySocketVariable, len(address), maxSocketPath)
	case address[0] == '/', address[0] == '@' && len(address) > 1:
		return address, nil
	}
	return "", fmt.Errorf("%s is %q, neither a path nor an abstract name", notifySocketVariable, address)
}

// watchdogInterval returns the time after which the manager takes this process
// for dead.
func watchdogInterval(text, pid string) (time.Duration, error) {
	if text == "" || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0, nil
	}
	micros, err := strconv.ParseInt(text, 10, 64)
	if err != nil || micros <= 0 || micros > math.MaxInt64/int64(time.Microsecond) {
		return 0, fmt.Errorf("%s is %q, not a time in microseconds", watchdogVariable, text)
	}
	return time.Duration(micros) * time.Microsecond, nil
}

// maxName is the longest name of a descriptor in bytes (sd_pid_notify_with_fds(3)).
const maxName = 255

// checkName refuses names that would not arrive as they are: FDNAME= takes
// printable ASCII without colons.
func checkName(name string) error {
	if name == "" || len(name) > maxName || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r >= 127 || r == ':' }) {
		return fmt.Errorf("%q is no name for a descriptor: it takes 1 to %d printable ASCII characters, no colon", name, maxName)
	}
	return nil
}

func closeFiles(files map[string]*os.File) {
	for _, f := range files {
		_ = f.Close()
	}
}
