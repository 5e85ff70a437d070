package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"
	"unicode"

	"deploykeyd/agent"
)

// jsonViewer prints an object in one line whenever anything in it has changed.
type jsonViewer struct {
	w    io.Writer
	last []byte
}

func (v *jsonViewer) show(s sighting) error {
	line, err := json.Marshal(s.status)
	if err != nil || slices.Equal(line, v.last) {
		return err
	}
	v.last = line
	_, err = v.w.Write(append(slices.Clone(line), '\n'))
	return err
}

// lineViewer prints a line for everything that has changed, as in a log.
type lineViewer struct {
	w    io.Writer
	said map[string]string // what was said last, by what it is about
}

// fact is a line of a lineViewer.
type fact struct{ about, text string }

func (v *lineViewer) show(s sighting) error {
	facts := factsOf(s)
	gone := maps.Clone(v.said)
	for _, f := range facts {
		delete(gone, f.about)
	}
	// A silent daemon says nothing about its repositories: when it is back, what
	// differs then is told.
	if s.silent == "" {
		for _, about := range slices.Sorted(maps.Keys(gone)) {
			facts = append(facts, fact{about, "gone"})
		}
	}
	for _, f := range facts {
		if v.said[f.about] == f.text {
			continue
		}
		if v.said[f.about] = f.text; f.text == "gone" {
			delete(v.said, f.about)
		}
		if _, err := fmt.Fprintf(v.w, "%s  %s: %s\n", s.at.Local().Format(time.DateTime), f.about, printable(f.text)); err != nil {
			return err
		}
	}
	return nil
}

func factsOf(s sighting) []fact {
	const daemon = "deploykeyd"
	if s.silent != "" {
		said := []string{s.silent}
		if n := len(s.status.Remaining); n > 0 {
			said = append(said, fmt.Sprintf("%d %s may remain on a forge", n, plural(n, "key")))
		}
		return []fact{{daemon, strings.Join(append(said, s.status.Warnings...), "; ")}}
	}
	ready := "not ready"
	if s.status.Ready {
		ready = "ready"
	}
	facts := []fact{{daemon, string(s.status.Phase) + ", " + ready}}
	for _, r := range s.status.Repositories {
		facts = append(facts, fact{r.Forge + " " + string(r.Repository), conditionOf(r)})
	}
	for _, r := range s.status.Remaining {
		facts = append(facts, fact{r.Forge + " " + r.Target + " " + r.Title, "may remain: " + r.Reason})
	}
	if len(s.status.Warnings) > 0 {
		facts = append(facts, fact{"warning", strings.Join(s.status.Warnings, "; ")})
	}
	return facts
}

// conditionOf leaves out what changes with every use.
func conditionOf(r agent.RepositoryStatus) string {
	text := string(r.Condition)
	if r.Fingerprint != "" {
		text += " " + r.Fingerprint
	}
	if r.Reason != "" {
		text += ": " + r.Reason
	}
	if r.Next != "" {
		text += "; next: " + r.Next
	}
	return text
}

// screenViewer draws the whole status over the one before.
type screenViewer struct {
	w        io.Writer
	interval time.Duration
	drawn    bool
}

// What a terminal does for these (ECMA-48): go to the first place; erase to the
// end of the line, to the end of the screen, all of the screen.
const (
	goHome       = "\x1b[H"
	eraseLine    = "\x1b[K"
	eraseBelow   = "\x1b[J"
	eraseDisplay = "\x1b[2J"
)

func (v *screenViewer) show(s sighting) error {
	width, height, _ := terminalSize(v.w) // it may have changed
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s, every %v until Ctrl-C\n\n", s.at.Local().Format(time.DateTime), v.interval)
	if s.silent != "" {
		fmt.Fprintf(&text, "%s: looking for it again\n", s.silent)
	}
	if s.status.Phase != "" {
		if err := printStatus(&text, s.status, false); err != nil {
			return err
		}
	}
	var frame strings.Builder
	if !v.drawn {
		frame.WriteString(eraseDisplay)
		v.drawn = true
	}
	frame.WriteString(goHome)
	for _, line := range fit(text.String(), width, height) {
		frame.WriteString(line + eraseLine + "\n")
	}
	frame.WriteString(eraseBelow)
	_, err := io.WriteString(v.w, frame.String())
	return err
}

// fit breaks a text into lines that a screen has room for, and leaves its last
// line for the cursor. What does not fit is counted. A size of 0 is unknown.
func fit(text string, width, height int) []string {
	var lines []string
	for line := range strings.Lines(text) {
		rest := []rune(printable(strings.TrimRight(line, "\n")))
		for width > 0 && len(rest) > width {
			lines, rest = append(lines, string(rest[:width])), rest[width:]
		}
		lines = append(lines, string(rest))
	}
	if room := max(height-1, 2); height > 0 && len(lines) > room {
		hidden := len(lines) - (room - 1)
		lines = append(lines[:room-1], fmt.Sprintf("(%d more lines: deploykeyd status)", hidden))
	}
	return lines
}

// printable replaces what a terminal would not show as a character: reasons may
// hold a forge's words.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, text)
}
