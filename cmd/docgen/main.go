// Command docgen writes what is generated from the program itself: the manual
// pages, the shell completions and the configuration reference. It runs when
// packages are built and is not shipped.
//
// It owns the form of the pages, and the words that belong to no command and no
// field. What a command or a field means it takes from cmd/deploykeyd/cli and
// agent/config; it changes neither.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"deploykeyd/agent/config"
	"deploykeyd/cmd/deploykeyd/cli"
)

const usage = `docgen writes what is generated from deploykeyd itself.

Usage:
  docgen [flags] man DIR         deploykeyd.8 and deploykeyd.yaml.5
  docgen [flags] completion DIR  the scripts of bash, zsh, fish and PowerShell
  docgen [flags] reference       docs/configuration.md, to standard output

Flags:
`

func main() { os.Exit(run(os.Args[1:], os.Stdout, os.Stderr)) }

// run returns the exit status: 0, 1 when something could not be written, 2 for a
// wrong command line.
func run(args []string, stdout, stderr io.Writer) int {
	flags := flag.NewFlagSet("docgen", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = io.WriteString(stderr, usage)
		flags.PrintDefaults()
	}
	version := flags.String("version", "dev", "the `version` that the manual pages name")
	date := flags.String("date", "", "the `date` of the manual pages, as 2006-01-02 (default: SOURCE_DATE_EPOCH, else today)")
	words, err := parse(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2 // said by flags
	}
	day, err := dayOf(*date, os.Getenv("SOURCE_DATE_EPOCH"), time.Now())
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "docgen:", err)
		return 2
	}
	switch {
	case len(words) == 2 && words[0] == "man":
		err = writeMan(words[1], edition{*version, day})
	case len(words) == 2 && words[0] == "completion":
		err = writeCompletions(words[1])
	case len(words) == 1 && words[0] == "reference":
		_, err = io.WriteString(stdout, markdown(config.ReferenceDoc()))
	default:
		flags.Usage()
		return 2
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "docgen:", err)
		return 1
	}
	return 0
}

// parse accepts flags in front of, between and behind the other words.
func parse(flags *flag.FlagSet, args []string) ([]string, error) {
	var words []string
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		if flags.NArg() == 0 {
			return words, nil
		}
		words, args = append(words, flags.Arg(0)), flags.Args()[1:]
	}
}

// dayOf returns the day that was asked for, else that of the epoch, a number of
// seconds (reproducible-builds.org, SOURCE_DATE_EPOCH), else today.
func dayOf(asked, epoch string, now time.Time) (string, error) {
	switch {
	case asked != "":
		if _, err := time.Parse(time.DateOnly, asked); err != nil {
			return "", fmt.Errorf("--date %q is no day: write it as 2006-01-02", asked)
		}
		return asked, nil
	case epoch != "":
		seconds, err := strconv.ParseInt(epoch, 10, 64)
		if err != nil {
			return "", fmt.Errorf("SOURCE_DATE_EPOCH %q is no number of seconds", epoch)
		}
		now = time.Unix(seconds, 0)
	}
	return now.UTC().Format(time.DateOnly), nil
}

func writeMan(dir string, e edition) error {
	return writeFiles(dir, map[string]string{
		"deploykeyd.8":      commandManual(cli.Manual(), e),
		"deploykeyd.yaml.5": configManual(config.ReferenceDoc(), e),
	})
}

func writeCompletions(dir string) error {
	files := map[string]string{}
	for shell, name := range map[string]string{
		"bash": "deploykeyd.bash", "zsh": "_deploykeyd", "fish": "deploykeyd.fish", "powershell": "deploykeyd.ps1",
	} {
		var text strings.Builder
		if err := cli.WriteCompletion(shell, &text); err != nil {
			return err
		}
		files[name] = text.String()
	}
	return writeFiles(dir, files)
}

// writeFiles makes the directory where it is missing. What is in it already is
// replaced.
func writeFiles(dir string, files map[string]string) error {
	if err := os.MkdirAll(dir, 0o755); err != nil { //nolint:gosec // nothing in it is private
		return err
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil { //nolint:gosec // as above
			return err
		}
	}
	return nil
}
