package main

import (
	"strings"
	"testing"
)

// TestRoffShowsTextAsItIs has every pair of characters at the beginning of a
// line, in a line and at its end, as code and as prose.
func TestRoffShowsTextAsItIs(t *testing.T) {
	r := newPage("x", "1", edition{"1", "2026-01-01"}, "x")
	r.section("Code")
	var lines []string
	for a := ' '; a <= '~'; a++ {
		for b := ' '; b <= '~'; b++ {
			lines = append(lines, string([]rune{a, b, 'x', a, b, 'x', a, b}))
		}
	}
	lines = append(lines, `.SH "no heading"`, `'br`, `\fBno bold\fR`, `\\n(.$`, `\" no comment`, "", "…é", `"`, `-`, `--flag='a b'`, `~/.ssh ^ $(x)`)
	r.code(lines)
	text := strings.Split(shown(t, r.String()), "\n")
	for i, line := range text {
		text[i] = strings.TrimRight(strings.TrimPrefix(line, "           "), " ")
	}
	at := 0
	for _, want := range lines {
		want = strings.TrimRight(want, " ")
		for at < len(text) && text[at] != want {
			if at++; at == len(text) {
				t.Fatalf("%q is not shown as it is", want)
			}
		}
		at++
	}
}

func TestRoffProse(t *testing.T) {
	for text, want := range map[string]string{
		".SH is no request":            ".SH is no request",
		"'br is none":                  "'br is none",
		"`code` at first, `.x` later":  "code at first, .x later",
		"`.code` that looks like one":  ".code that looks like one",
		"an open ` quote":              "an open ` quote",
		`a \ and \fB`:                  `a \ and \fB`,
		"a tab\tand \x1b[31m a colour": "a tab and [31m a colour",
	} {
		r := newPage("x", "1", edition{"1", "2026-01-01"}, "x")
		r.section("Prose")
		r.text(text)
		r.item(prose(text), "x")
		if page := shown(t, r.String()); strings.Count(page, want) != 2 {
			t.Errorf("%q is shown as\n%s", text, page)
		}
	}
}

func TestParagraphs(t *testing.T) {
	r := newPage("x", "1", edition{"1", "2026-01-01"}, "x")
	r.section("Text")
	r.text("one\ntwo\n\n  literal\n    deeper\n\n\n\nthree\n")
	page := shown(t, r.String())
	if !strings.Contains(page, "\n       one two\n\n           literal\n             deeper\n\n       three\n") {
		t.Errorf("shown as\n%s", page)
	}
}

func TestSpans(t *testing.T) {
	for text, want := range map[string]int{"": 1, "a": 1, "`a`": 3, "a `b` c": 3, "a ` b": 1, "`a``b`": 4, "a `b": 1} {
		list := spans(text)
		var joined strings.Builder
		for _, s := range list {
			if s.code {
				joined.WriteString(tick(s.text))
			} else {
				joined.WriteString(s.text)
			}
		}
		if len(list) != want || joined.String() != text {
			t.Errorf("%q has %d spans, want %d: %+v", text, len(list), want, list)
		}
	}
}
