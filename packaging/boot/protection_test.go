//go:build boot

package boot_test

import (
	"regexp"
	"strconv"
	"strings"
	"testing"

	"deploykeyd/agent"
)

// maxExposure is what systemd-analyze security may say of the running service.
const maxExposure = 2.0

// capSysResource is CAP_SYS_RESOURCE of linux/capability.h: without it nobody
// lifts a limit above what this process has.
const capSysResource = 24

// wellProtected checks what the kernel and systemd make of the service's
// protection. A container can do one thing less than a machine: where this
// process may not lift its own limit on locked memory, the service cannot either.
func (m *machine) wellProtected(t *testing.T, status agent.Status) {
	t.Helper()
	said := m.do(t, "systemd-analyze", "security", "--no-pager", ours)
	figure := regexp.MustCompile(`Overall exposure level for deploykeyd.service: ([0-9.]+)`).FindStringSubmatch(said)
	if figure == nil {
		t.Fatalf("systemd-analyze security: %s", said)
	}
	t.Logf("exposure: %s", figure[1])
	if exposure, err := strconv.ParseFloat(figure[1], 64); err != nil || exposure > maxExposure {
		t.Errorf("the exposure is %s, more than %v:\n%s", figure[1], maxExposure, said)
	}
	for _, w := range status.Warnings {
		if strings.HasPrefix(w, "memory is not locked") && !liftsLimits(t) {
			t.Logf("cannot hold in this container: %s", w)
			continue
		}
		t.Errorf("warning: %s", w)
	}
}

// liftsLimits reports whether this process, and so a container, may lift limits.
func liftsLimits(t *testing.T) bool {
	t.Helper()
	for line := range strings.Lines(read(t, "/proc/self/status")) {
		if text, ok := strings.CutPrefix(line, "CapEff:"); ok {
			set, err := strconv.ParseUint(strings.TrimSpace(text), 16, 64)
			if err != nil {
				t.Fatal(err)
			}
			return set&(1<<capSysResource) != 0
		}
	}
	t.Fatal("/proc/self/status names no capabilities")
	return false
}
