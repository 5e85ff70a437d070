//go:build unix

package sshconfig_test

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"deploykeyd/provision/sshconfig"
)

// A file with the right text and mode that another user may change tomorrow.
func TestWriteReplacesAnothersFile(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Log("only root can give a file away")
		return
	}
	dir := t.TempDir()
	o, hosts := options(dir), []sshconfig.Host{host(t, "github.com", 22)}
	path := write(t, hosts, o)
	for _, name := range []string{path, o.KnownHosts} {
		if err := os.Chown(name, 61234, 61234); err != nil {
			t.Fatal(err)
		}
		if changed, err := sshconfig.Write(path, hosts, o); err != nil || !changed {
			t.Errorf("%s: changed %v, %v", filepath.Base(name), changed, err)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		if st, ok := info.Sys().(*syscall.Stat_t); !ok || st.Uid != 0 {
			t.Errorf("%s still belongs to user %d", filepath.Base(name), st.Uid)
		}
	}
}
