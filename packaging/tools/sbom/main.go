// Command sbom lists what a Go binary was made of: our own module, every module
// that was linked in and the standard library, from the record that the Go
// linker left in that very binary (debug/buildinfo). It writes a CycloneDX 1.5
// document and, for the packages, the licence texts that have to go along.
//
//	go list -deps -f '{{with .Module}}{{.Path}} {{.Dir}}{{end}}' ./cmd/x |
//		sbom -version 1.2.3 -time 1700000000 -sbom x.cdx.json -notices NOTICES bin/x
//
// Standard input names the folder of each module's source, where its licence
// is. The same binary, time and sources give the same bytes.
package main

import (
	"bufio"
	"crypto/sha256"
	"debug/buildinfo"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

func main() {
	if err := run(os.Args[1:], os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "sbom:", err)
		os.Exit(1) //nolint:forbidigo // this is main
	}
}

func run(args []string, stdin io.Reader) error {
	flags := flag.NewFlagSet("sbom", flag.ContinueOnError)
	version := flags.String("version", "", "version of the binary")
	epoch := flags.Int64("time", 0, "time of the document, in seconds since 1970")
	sbom := flags.String("sbom", "", "where to write the CycloneDX document")
	notices := flags.String("notices", "", "where to write the licence texts")
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() != 1 || *version == "" || *sbom == "" || *notices == "" {
		return fmt.Errorf("usage: sbom -version V -time T -sbom FILE -notices FILE BINARY <modules")
	}
	dirs, err := readDirs(stdin)
	if err != nil {
		return err
	}
	inv, err := inspect(flags.Arg(0), dirs)
	if err != nil {
		return err
	}
	inv.version, inv.time = *version, time.Unix(*epoch, 0).UTC()
	text, err := json.MarshalIndent(inv.document(), "", "  ")
	if err != nil {
		return err
	}
	if err := os.WriteFile(*sbom, append(text, '\n'), 0o644); err != nil { //nolint:gosec // a published file
		return err
	}
	return os.WriteFile(*notices, []byte(inv.notices()), 0o644) //nolint:gosec // a published file
}

// readDirs reads lines of a module's path and the folder of its source. A
// folder's name may hold spaces, a module's path cannot.
func readDirs(r io.Reader) (map[string]string, error) {
	dirs := map[string]string{}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if lines.Text() == "" {
			continue
		}
		path, dir, found := strings.Cut(lines.Text(), " ")
		if !found || dir == "" {
			return nil, fmt.Errorf("modules: %q is not a module and its folder", lines.Text())
		}
		dirs[path] = dir
	}
	return dirs, lines.Err()
}

// inventory is what one binary was made of.
type inventory struct {
	version  string
	time     time.Time
	digest   [sha256.Size]byte // of the binary
	main     module
	modules  []module
	settings map[string]string
}

// module is one that was linked in; the standard library is one too.
type module struct {
	path, version string
	sum           string // as in go.sum; empty for our own module and the standard library
	licence       string // SPDX identifier
	text          string // the licence itself
}

// inspect reads the binary, and the licences from the folders of the modules.
func inspect(binary string, dirs map[string]string) (*inventory, error) {
	content, err := os.ReadFile(binary)
	if err != nil {
		return nil, err
	}
	info, err := buildinfo.ReadFile(binary)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", binary, err)
	}
	inv := &inventory{digest: sha256.Sum256(content), settings: map[string]string{}}
	for _, s := range info.Settings {
		inv.settings[s.Key] = s.Value
	}
	// "go1.26.8-X:runtimesecret" names its experiments too; those are in the settings.
	toolchain, _, _ := strings.Cut(info.GoVersion, "-X:")
	toolchain, _, _ = strings.Cut(toolchain, " ")
	inv.settings["go"] = toolchain

	inv.main = module{path: info.Main.Path}
	if inv.main.licence, inv.main.text, err = licenceOf(info.Main.Path, dirs); err != nil {
		return nil, err
	}
	inv.modules = []module{{path: "std", version: strings.TrimPrefix(toolchain, "go")}}
	for _, dep := range info.Deps {
		if dep.Replace != nil {
			return nil, fmt.Errorf("%s: it is replaced by %s: release what go.mod requires", dep.Path, dep.Replace.Path)
		}
		inv.modules = append(inv.modules, module{path: dep.Path, version: dep.Version, sum: dep.Sum})
	}
	for i := range inv.modules {
		m := &inv.modules[i]
		if m.licence, m.text, err = licenceOf(m.path, dirs); err != nil {
			return nil, err
		}
	}
	return inv, nil
}
