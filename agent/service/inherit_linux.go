package service

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// firstInherited is the first descriptor behind the standard ones, from which
// on LISTEN_FDS counts.
const firstInherited = 3

// maxInherited is how many descriptors are taken over. A unit whose store takes
// more has a mistake in it.
const maxInherited = 4096

// handedOver is a descriptor that the environment names.
type handedOver struct {
	fd   int
	name string
}

// inheritFiles takes over the descriptors that the environment hands to this
// process. On an error it has closed those that it had taken.
func inheritFiles(given map[string]string) (map[string]*os.File, error) {
	own, ownErr := fromHandover(given[handoverVariable])
	kept, keptErr := fromListenFDs(given)
	if err := errors.Join(ownErr, keptErr); err != nil {
		return nil, err
	}
	files := map[string]*os.File{}
	for _, h := range append(own, kept...) {
		if err := takeOver(h.fd); err != nil {
			closeFiles(files)
			return nil, err
		}
		if files[h.name] != nil {
			_ = unix.Close(h.fd)
			continue
		}
		files[h.name] = os.NewFile(uintptr(h.fd), h.name)
	}
	return files, nil
}

// takeOver sets a descriptor to be closed on execution. One for which that is
// set already did not come through an execution: the runtime has opened it, or
// it was named before.
func takeOver(fd int) error {
	flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0)
	switch {
	case err != nil:
		return fmt.Errorf("descriptor %d is not open", fd)
	case flags&unix.FD_CLOEXEC != 0:
		return fmt.Errorf("descriptor %d is not an inherited one", fd)
	}
	unix.CloseOnExec(fd)
	return nil
}

// fromListenFDs reads what the service manager hands over (sd_listen_fds(3)).
// What is for another process, our parent say, is none of ours.
func fromListenFDs(given map[string]string) ([]handedOver, error) {
	if given[listenPIDVariable] != strconv.Itoa(os.Getpid()) {
		return nil, nil
	}
	n, err := strconv.Atoi(given[listenFDsVariable])
	if err != nil || n < 0 || n > maxInherited {
		return nil, fmt.Errorf("%s is %q, not a number up to %d", listenFDsVariable, given[listenFDsVariable], maxInherited)
	}
	list := make([]handedOver, n)
	names, named := strings.Split(given[listenFDNamesVariable], ":"), given[listenFDNamesVariable] != ""
	if named && len(names) != n {
		return nil, fmt.Errorf("%s has %d names for %d descriptors", listenFDNamesVariable, len(names), n)
	}
	for i := range list {
		list[i] = handedOver{firstInherited + i, "unknown"} // as sd_listen_fds_with_names has it
		if named {
			list[i].name = names[i]
		}
		if err := checkName(list[i].name); err != nil {
			return nil, fmt.Errorf("%s: %w", listenFDNamesVariable, err)
		}
	}
	return list, nil
}

// fromHandover reads what Reexec wrote.
func fromHandover(text string) ([]handedOver, error) {
	pid, rest, _ := strings.Cut(text, ":")
	if pid != strconv.Itoa(os.Getpid()) || rest == "" {
		return nil, nil
	}
	var list []handedOver
	for entry := range strings.SplitSeq(rest, ":") {
		number, name, _ := strings.Cut(entry, "=")
		fd, err := strconv.ParseInt(number, 10, 32)
		if err != nil || fd < firstInherited || checkName(name) != nil || len(list) == maxInherited {
			return nil, fmt.Errorf("%s has the entry %q, or too many", handoverVariable, entry)
		}
		list = append(list, handedOver{int(fd), name})
	}
	return list, nil
}

// handoverText is what fromHandover reads.
func handoverText(list []handedOver) string {
	entries := []string{strconv.Itoa(os.Getpid())}
	for _, h := range list {
		entries = append(entries, strconv.Itoa(h.fd)+"="+h.name)
	}
	return strings.Join(entries, ":")
}
