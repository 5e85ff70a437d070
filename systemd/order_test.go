package systemd_test

import (
	"strings"
	"testing"
)

// cloudInit are the orders of cloud-init's units (22.4 on Debian 12; the second
// one is cloud-init-network.service since 24.3).
func cloudInit() map[string]string {
	return map[string]string{
		"cloud-init-local.service": "DefaultDependencies=no\nBefore=network.target sysinit.target shutdown.target\nConflicts=shutdown.target\n",
		"cloud-init.service": "DefaultDependencies=no\nWants=cloud-init-local.service\nAfter=cloud-init-local.service\n" +
			"Before=network-online.target sysinit.target shutdown.target\nConflicts=shutdown.target\n",
		"cloud-config.service": "After=network-online.target cloud-init.service\nWants=network-online.target cloud-init.service\n",
		"cloud-final.service":  "After=network-online.target cloud-config.service multi-user.target\nWants=cloud-config.service\n",
	}
}

// The unit starts after the instance-id is known, and the end of the boot, from
// which "deploykeyd up" starts it, does not wait for itself.
func TestNoCycleWithCloudInit(t *testing.T) {
	t.Parallel()
	root, write := machine(t)
	for name, order := range cloudInit() {
		write("/usr/lib/systemd/system/"+name, []byte("[Unit]\n"+order+"[Service]\nType=oneshot\nExecStart=/bin/sh\n"))
	}
	write("/usr/lib/systemd/system/multi-user.target", []byte("[Unit]\nAfter=deploykeyd.service jenkins-agent.service\n"+
		"Wants=deploykeyd.service jenkins-agent.service\n"))
	write("/usr/lib/systemd/system/boot.target", []byte("[Unit]\nAfter=cloud-final.service\nWants=multi-user.target cloud-final.service\n"))
	verify := func() string {
		return run(t, "systemd-analyze", "verify", "--root="+root, "--man=no", "boot.target")
	}
	if said := verify(); said != "" {
		t.Error(said)
	}
	write("/etc/systemd/system/deploykeyd.service.d/late.conf", []byte("[Unit]\nAfter=cloud-final.service\n"))
	if said := verify(); !strings.Contains(said, "ordering cycle") {
		t.Errorf("a cycle is not told of: %q", said)
	}
}
