package config

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// What stands in an excerpt for text that may be a secret, and for text of which
// that cannot be known.
const (
	redacted = "[redacted]"
	unknown  = "…"
)

// excerptWidth is how many characters of a long line an excerpt shows.
const excerptWidth = 100

// position is a place in the text, from 1, columns in characters.
type position struct{ line, column int }

func (p position) before(q position) bool {
	return p.line < q.line || p.line == q.line && p.column < q.column
}

// span is the text from a place up to, but not including, another.
type span struct{ from, to position }

// source is a configuration's text, and which parts of it no excerpt may show.
type source struct {
	name   string
	lines  []string
	hidden []span
	// words is set when the text could not be taken apart: then it is unknown
	// what is a secret, and excerpts show these words and punctuation only.
	words map[string]bool
}

// newSource splits the text into the lines that the YAML reader counts. The
// problem, if any, is one that a YAML reader could not place.
func newSource(name string, text []byte) (*source, *Problem) {
	s := &source{name: name}
	if len(text) > MaxSize {
		return s, &Problem{
			Text: fmt.Sprintf("the file has more than %d bytes", MaxSize),
			Fix:  "split the repositories among machines, or among fleets",
		}
	}
	s.words = knownWords()
	text = bytes.TrimPrefix(text, []byte("\ufeff"))
	for line := range strings.SplitSeq(string(text), "\n") {
		s.lines = append(s.lines, strings.TrimSuffix(line, "\r"))
	}
	for i, line := range s.lines {
		column := 0
		for at, c := range line {
			column++
			if why := refuseRune(c, line[at:]); why != "" {
				return s, &Problem{
					Line: i + 1, Column: column, Text: why,
					Fix: "save the file as UTF-8 text, and write such a character as an escape in double quotes",
				}
			}
		}
	}
	return s, nil
}

// refuseRune says why c, with which rest begins, may not stand in the file. The
// characters that YAML 1.1 takes for line breaks would make its line numbers
// differ from an editor's.
func refuseRune(c rune, rest string) string {
	if c == utf8.RuneError {
		if _, size := utf8.DecodeRuneInString(rest); size == 1 {
			return "a byte here is not valid UTF-8"
		}
	}
	switch {
	case c == '\t':
		return ""
	case unicode.IsControl(c), c == '\u2028', c == '\u2029', c == '\ufeff':
		return fmt.Sprintf("the character U+%04X is not allowed", c)
	}
	return ""
}

// hide keeps a part of the text out of every excerpt.
func (s *source) hide(part span) { s.hidden = append(s.hidden, part) }

// reach is how far from its column an excerpt looks at a line.
const reach = 2 * excerptWidth

// excerpt returns a line, or the part of a long one around the column, as it may
// be shown, and how many characters of it stand before the column.
func (s *source) excerpt(line, column int) (text string, caret int, ok bool) {
	if line < 1 || line > len(s.lines) {
		return "", 0, false
	}
	from := max(1, column-reach)
	shown := s.visible(line, from, column+reach)
	mask := []rune(redacted)
	if s.words != nil {
		mask = []rune(unknown)
	}
	var out []rune
	caret = -1
	for i, c := range shown {
		again := c == hiddenRune && i > 0 && shown[i-1] == hiddenRune
		if caret < 0 && from+i >= column {
			caret = len(out)
			if again {
				caret -= len(mask)
			}
		}
		switch {
		case again:
		case c == hiddenRune:
			out = append(out, mask...)
		default:
			out = append(out, c)
		}
	}
	if caret < 0 {
		caret = len(out)
	}
	text, caret = window(out, caret)
	return text, caret, true
}

// hiddenRune marks a hidden character between visible and excerpt. It cannot
// come from the text: newSource refuses control characters.
const hiddenRune = '\x00'

// visible returns the characters of a line from one column up to another,
// hidden ones replaced by hiddenRune and unprintable ones by a space, without a
// comment at its end: what somebody has commented out may be a secret too.
func (s *source) visible(line, from, to int) []rune {
	text := []rune(s.lines[line-1])
	from, to = min(from, len(text)+1), min(to, len(text)+1)
	whole := span{position{line, from}, position{line, to}}
	var secret []span
	for _, h := range s.hidden {
		if h.from.before(whole.to) && whole.from.before(h.to) {
			secret = append(secret, h)
		}
	}
	known := s.shownWords(text)
	indent := len(text) - len([]rune(strings.TrimLeft(s.lines[line-1], " -")))
	var out []rune
	for column := from; column < to; column++ {
		c, at := text[column-1], position{line, column}
		isSecret := func(h span) bool { return !at.before(h.from) && at.before(h.to) }
		switch {
		case column <= indent:
		case slices.ContainsFunc(secret, isSecret), !known(column):
			c = hiddenRune
		case c == '#' && (column == 1 || unicode.IsSpace(text[column-2])):
			return out
		case !unicode.IsPrint(c):
			c = ' '
		}
		out = append(out, c)
	}
	return out
}

// shownWords returns which columns of a line hold a known word, a space or YAML
// punctuation: all of them once the tree says what is a secret.
func (s *source) shownWords(text []rune) func(column int) bool {
	if s.words == nil {
		return func(int) bool { return true }
	}
	shown := make([]bool, len(text))
	for i := 0; i < len(text); {
		if strings.ContainsRune(punctuation, text[i]) {
			shown[i] = true
			i++
			continue
		}
		end := i
		for end < len(text) && !strings.ContainsRune(delimiters, text[end]) {
			end++
		}
		known := s.words[string(text[i:end])]
		for ; i < end; i++ {
			shown[i] = known
		}
	}
	return func(column int) bool { return shown[column-1] }
}

// What may be shown of a line that could not be taken apart, and what ends a
// word in it.
const (
	delimiters  = " \t:{}[],'\""
	punctuation = delimiters + "-&*!|>%@`?#"
)

// window cuts a long line down to the part around the caret.
func window(line []rune, caret int) (string, int) {
	if len(line) <= excerptWidth {
		return strings.TrimRight(string(line), " "), caret
	}
	from := min(max(0, caret-excerptWidth/2), len(line)-excerptWidth)
	text := string(line[from : from+excerptWidth])
	if from+excerptWidth < len(line) {
		text += "…"
	}
	if from > 0 {
		text, caret = "…"+text, caret+1
	}
	return strings.TrimRight(text, " "), caret - from
}
