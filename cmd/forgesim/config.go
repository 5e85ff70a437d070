package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

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
		entries, err := entriesOf(f, o, filepath.Dir(path))
		if err != nil {
			return err
		}
		for _, e := range entries {
			writeEntry(&b, f, e)
		}
	}
	return writeFile(path, b.String(), 0o644)
}

func writeEntry(b *strings.Builder, f *forgesim.Forge, e entry) {
	fmt.Fprintf(b, "  - name: %s\n    kind: %s\n    url: %s\n    ssh: %s\n", e.name, f.Kind(), f.URL(), f.SSH())
	b.WriteString("    host_keys:\n")
	for _, k := range f.HostKeys() {
		fmt.Fprintf(b, "      - %s\n", k)
	}
	b.WriteString("    credential:\n")
	for _, line := range e.credential {
		fmt.Fprintf(b, "      %s\n", line)
	}
	b.WriteString("    repositories:\n")
	for _, r := range e.repositories {
		if r == writable {
			fmt.Fprintf(b, "      - {repository: %s, access: write}\n", r)
		} else {
			fmt.Fprintf(b, "      - %s\n", r)
		}
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
