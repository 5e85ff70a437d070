package verify

import (
	"bytes"
	"strings"
	"unicode"
	"unicode/utf8"
)

// maxStderr is how much of a command's error output is kept, in bytes: a
// server may send as much as it likes.
const maxStderr = 32 << 10

// maxMessage is how much of it gets into an error, in bytes.
const maxMessage = 300

// capped keeps the first bytes of what is written to it.
type capped struct {
	bytes.Buffer
	room int
}

func (c *capped) Write(p []byte) (int, error) {
	kept := min(len(p), c.room)
	c.room -= kept
	_, _ = c.Buffer.Write(p[:kept])
	return len(p), nil
}

// boilerplate is what git adds to every failure.
func boilerplate() []string {
	return []string{
		"fatal: Could not read from remote repository.",
		"Please make sure you have the correct access rights",
		"and the repository exists.",
	}
}

// clean returns text as one line that is safe to show: without control
// characters, git's boilerplate and the frames that servers draw.
func clean(text string) string {
	var kept []string
	for line := range strings.Lines(text) {
		line = strings.Map(printable, strings.ToValidUTF8(line, "?"))
		for _, b := range boilerplate() {
			line = strings.ReplaceAll(line, b, "")
		}
		line = strings.TrimSpace(strings.TrimPrefix(strings.TrimSpace(line), "remote:"))
		if strings.Trim(line, "=@* ") != "" {
			kept = append(kept, strings.Join(strings.Fields(line), " "))
		}
	}
	line := strings.Join(kept, " / ")
	if len(line) <= maxMessage {
		return line
	}
	line = line[:maxMessage]
	for !utf8.ValidString(line) {
		line = line[:len(line)-1]
	}
	return line + "…"
}

// printable maps what a terminal or a log might obey to a space.
func printable(r rune) rune {
	if unicode.IsPrint(r) {
		return r
	}
	return ' '
}
