package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// writeConfig writes a complete configuration and, beside it, a credential file
// for each forge that only its owner may read.
func writeConfig(sim *forgesim.Sim, o options) error {
	path, err := filepath.Abs(o.configOut)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "# Written by forgesim for forges that end with it.\nfleet: demo\nusers: [%s]\nforges:\n", strconv.Quote(o.user))
	for _, f := range sim.Forges() {
		token := filepath.Join(filepath.Dir(path), string(f.Kind())+".token")
		_, secret := f.Credential()
		if err := writeFile(token, secret+"\n", 0o600); err != nil {
			return err
		}
		writeForge(&b, f, token, o.repositories)
	}
	return writeFile(path, b.String(), 0o644)
}

func writeForge(b *strings.Builder, f *forgesim.Forge, token string, repositories []string) {
	fmt.Fprintf(b, "  - name: %[1]s\n    kind: %[1]s\n    url: %s\n    ssh: %s\n", f.Kind(), f.URL(), f.SSH())
	b.WriteString("    host_keys:\n")
	for _, k := range f.HostKeys() {
		fmt.Fprintf(b, "      - %s\n", k)
	}
	b.WriteString("    credential:\n")
	if username, _ := f.Credential(); username != "" {
		fmt.Fprintf(b, "      username: %s\n", strconv.Quote(username))
	}
	fmt.Fprintf(b, "      token: {file: %s}\n    repositories:\n", strconv.Quote(token))
	for _, r := range repositories {
		if r != writable {
			fmt.Fprintf(b, "      - %s\n", r)
		}
	}
	if provision.TraitsOf(f.Kind()).WriteAccess {
		fmt.Fprintf(b, "      - {repository: %s, access: write}\n", writable)
	}
}

// writeFile puts text in place at once: whoever waits for the file finds it
// whole.
func writeFile(path, text string, mode os.FileMode) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path))
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // gone already when all went well
	if _, err := f.WriteString(text); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Chmod(mode); err != nil {
		_ = f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}
