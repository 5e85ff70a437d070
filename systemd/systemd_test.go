package systemd_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"deploykeyd/systemd"
)

// settings returns the values of each key of a unit file, in their order.
func settings(t *testing.T, text []byte) map[string][]string {
	t.Helper()
	all := map[string][]string{}
	for line := range strings.Lines(string(text)) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") || strings.HasPrefix(line, "[") {
			continue
		}
		key, value, ok := strings.Cut(line, "=")
		if !ok {
			t.Errorf("a line without a value: %q", line)
		}
		all[key] = append(all[key], value)
	}
	return all
}

// Behind any of these every client is user 65534, or cannot be looked at.
func TestOptionsThatStayOff(t *testing.T) {
	t.Parallel()
	all := settings(t, systemd.Service(systemd.Program))
	for _, key := range []string{"ProtectProc", "ProcSubset", "PrivateUsers", "PrivateNetwork", "DynamicUser"} {
		if v, there := all[key]; there {
			t.Errorf("%s=%s", key, strings.Join(v, " "))
		}
	}
}

func TestUnitKeepsItsPromises(t *testing.T) {
	t.Parallel()
	all := settings(t, systemd.Service(systemd.Program))
	for key, want := range map[string]string{
		"Type": "notify", "NotifyAccess": "main", "Restart": "always", "StartLimitIntervalSec": "0", "KillMode": "mixed",
		"ExecStart": "/usr/bin/deploykeyd run", "ExecStartPre": "+/usr/bin/deploykeyd ssh-config --write",
		"User": "deploykeyd", "StateDirectory": "deploykeyd", "StateDirectoryMode": "0700",
		"RuntimeDirectory": "deploykeyd", "RuntimeDirectoryMode": "0755", "RuntimeDirectoryPreserve": "restart",
		"LimitMEMLOCK": "infinity", "LimitCORE": "0", "MemorySwapMax": "0", "LogRateLimitIntervalSec": "0",
		"FileDescriptorStoreMax": "2048", "WatchdogSec": "30s", "WantedBy": "multi-user.target", "OOMPolicy": "continue",
		"CapabilityBoundingSet": "", "AmbientCapabilities": "",
	} {
		if got := all[key]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s=%q, want %q", key, got, want)
		}
	}
	reload := []string{"+/usr/bin/deploykeyd ssh-config --write", `/bin/sh -c 'kill -HUP "$$MAINPID"'`}
	if !slices.Equal(all["ExecReload"], reload) {
		t.Errorf("ExecReload=%q, want %q", all["ExecReload"], reload)
	}
	for _, want := range []string{"deploykeyd:/etc/deploykeyd/credentials", "product_uuid:/sys/class/dmi/id/product_uuid"} {
		if !slices.Contains(all["LoadCredential"], want) {
			t.Errorf("no LoadCredential=%s", want)
		}
	}
}

// A start that waits for the end of the boot holds that end back; "deploykeyd
// up" is called shortly before it.
func TestOrder(t *testing.T) {
	t.Parallel()
	all := settings(t, systemd.Service(systemd.Program))
	after := strings.Fields(strings.Join(all["After"], " "))
	before := strings.Fields(strings.Join(all["Before"], " "))
	for _, want := range []string{"network-online.target", "nss-lookup.target", "cloud-init.service", "cloud-init-network.service"} {
		if !slices.Contains(after, want) {
			t.Errorf("not after %s", want)
		}
	}
	for _, never := range []string{"cloud-final.service", "cloud-config.service", "cloud-init.target", "multi-user.target"} {
		if slices.Contains(after, never) {
			t.Errorf("after %s", never)
		}
	}
	for _, want := range []string{"jenkins-agent.service", "bamboo-agent.service", "buildkite-agent.service", "gitlab-runner.service"} {
		if !slices.Contains(before, want) {
			t.Errorf("not before %s", want)
		}
	}
}

// A gate that binds its agent to the daemon ends builds at every restart of it.
func TestGateBindsNothing(t *testing.T) {
	t.Parallel()
	all := settings(t, systemd.Gate(systemd.Program))
	for _, never := range []string{"Requires", "Requisite", "BindsTo", "PartOf", "Upholds", "ConsistsOf", "StopPropagatedFrom"} {
		if v, there := all[never]; there {
			t.Errorf("%s=%q", never, v)
		}
	}
	for key, want := range map[string]string{
		"After": "deploykeyd.service", "StartLimitIntervalSec": "0",
		"ExecStartPre": "+/usr/bin/deploykeyd wait --timeout 2s --run-dir /run/deploykeyd",
		"Restart":      "on-failure", "RestartSec": "3s",
	} {
		if got := all[key]; !slices.Equal(got, []string{want}) {
			t.Errorf("%s=%q, want %q", key, got, want)
		}
	}
}

func TestProgramIsReplaced(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"service": string(systemd.Service("/opt/x/deploykeyd")), "gate": string(systemd.Gate("/opt/x/deploykeyd")),
	} {
		if strings.Contains(text, systemd.Program) || !strings.Contains(text, "/opt/x/deploykeyd ") {
			t.Errorf("%s: %s", name, text)
		}
		if strings.Contains(text, "{{") {
			t.Errorf("%s has braces, which the service library takes for a template", name)
		}
	}
}

// run runs one of systemd's tools.
func run(t *testing.T, tool string, args ...string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput()
	if errors.Is(err, exec.ErrNotFound) {
		t.Fatalf("%v: install the package systemd", err)
	}
	if err != nil {
		t.Errorf("%s %s: %v", tool, strings.Join(args, " "), err)
	}
	return string(out)
}

func TestExposure(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), systemd.ServiceFile)
	if err := os.WriteFile(path, systemd.Service(systemd.Program), 0o600); err != nil {
		t.Fatal(err)
	}
	// 20 tenths: above it the tool fails.
	out := run(t, "systemd-analyze", "security", "--offline=true", "--threshold=20", "--no-pager", path)
	figure := regexp.MustCompile(`Overall exposure level for deploykeyd\.service: (\S+)`).FindStringSubmatch(out)
	if figure == nil {
		t.Fatalf("no figure in:\n%s", out)
	}
	t.Log("exposure", figure[1])
}

// machine is a folder that stands for a machine with the program and the units
// that a start of ours pulls in.
func machine(t *testing.T) (root string, write func(path string, text []byte)) {
	t.Helper()
	root = t.TempDir()
	write = func(path string, text []byte) {
		path = filepath.Join(root, path)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, text, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for _, program := range []string{systemd.Program, "/bin/sh"} {
		write(program, []byte("#!/bin/sh\n"))
		if err := os.Chmod(filepath.Join(root, program), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, unit := range []string{"sysinit", "basic", "shutdown", "network-online", "network", "multi-user"} {
		write("/usr/lib/systemd/system/"+unit+".target", []byte("[Unit]\nDefaultDependencies=no\n"))
	}
	write("/usr/lib/systemd/system/"+systemd.ServiceFile, systemd.Service(systemd.Program))
	write("/usr/lib/systemd/system/jenkins-agent.service", []byte("[Service]\nExecStart=/bin/sh\n"))
	write("/etc/systemd/system/jenkins-agent.service.d/50-deploykeyd-gate.conf", systemd.Gate(systemd.Program))
	return root, write
}

func TestVerify(t *testing.T) {
	t.Parallel()
	root, write := machine(t)
	verify := func(unit string) string {
		return run(t, "systemd-analyze", "verify", "--root="+root, "--man=no", unit)
	}
	for _, unit := range []string{systemd.ServiceFile, "jenkins-agent.service"} {
		if said := verify(unit); said != "" {
			t.Errorf("%s: %s", unit, said)
		}
	}
	// The tool ends well whatever it says: this one has to be told of.
	write("/etc/systemd/system/deploykeyd.service.d/bad.conf", []byte("[Service]\nNoSuchOption=yes\n"))
	if said := verify(systemd.ServiceFile); !strings.Contains(said, "NoSuchOption") {
		t.Errorf("an unknown option is not told of: %q", said)
	}
}

func TestSysusers(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	file := filepath.Join(root, "etc", systemd.SysusersFile)
	if err := errors.Join(os.Mkdir(filepath.Dir(file), 0o755), os.WriteFile(file, systemd.Sysusers(), 0o600)); err != nil {
		t.Fatal(err)
	}
	run(t, "systemd-sysusers", "--root="+root, file)
	passwd, err := os.ReadFile(filepath.Join(root, "etc", "passwd"))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m)^deploykeyd:[^:]*:\d+:\d+:[^:]*:/var/lib/deploykeyd:\S*nologin$`).Match(passwd) {
		t.Errorf("%s", passwd)
	}
}

func TestTmpfiles(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	credentials := filepath.Join(root, "etc", "deploykeyd", "credentials")
	if err := os.MkdirAll(credentials, 0o755); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(root, systemd.TmpfilesFile)
	if err := os.WriteFile(file, systemd.Tmpfiles(), 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, "systemd-tmpfiles", "--create", "--root="+root, file)
	for path, mode := range map[string]os.FileMode{credentials: 0o700, filepath.Dir(credentials): 0o755} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != mode {
			t.Errorf("%s: %v, %v, want %o", path, info.Mode(), err, mode)
		}
	}
}

// Packages take the files of this folder by their names, the program what is
// embedded.
func TestFilesAreTheEmbeddedOnes(t *testing.T) {
	t.Parallel()
	for name, embedded := range map[string][]byte{
		systemd.ServiceFile: systemd.Service(systemd.Program), systemd.SysusersFile: systemd.Sysusers(),
		systemd.TmpfilesFile: systemd.Tmpfiles(), systemd.GateFile: systemd.Gate(systemd.Program),
	} {
		text, err := os.ReadFile(name)
		if err != nil || !bytes.Equal(text, embedded) {
			t.Error(fmt.Sprint(name, " differs from what is embedded: ", err))
		}
	}
}
