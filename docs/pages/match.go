package pages

import (
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// anything stands for any text in the output that a page shows.
const anything = "…"

// variable is what differs from run to run, in the order of replacement.
func variable() []struct {
	pattern *regexp.Regexp
	name    string
} {
	list := []struct{ pattern, name string }{
		{`\x1b\[[0-9;?]*[a-zA-Z]`, ``}, // colours
		{`SHA256:[A-Za-z0-9+/]{43}`, `SHA256:<fingerprint>`},
		{`\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:?\d\d)?`, `<time>`},
		{`\d{8}T\d{6}Z`, `<time>`},
		{`(?i)\b(mon|tue|wed|thu|fri|sat|sun) \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+`, `<time>`},
		{`\b(jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec) [ \d]\d \d\d:\d\d:\d\d\b`, `<time>`},
		{`\b[0-9a-f]{8,64}\b`, `<hash>`},
		{`\bAAAA[A-Za-z0-9+/]{60,}=*`, `<key>`},
		{`\bpid[= ]\d+\b`, `pid=<pid>`},
		{`^\[\d+\] \d+$`, `<job>`},
		{`\[\d{2,}\]`, `[<pid>]`},
		{`(127\.0\.0\.\d|\.test):\d{4,5}\b`, `$1:<port>`},
		{`\b\d+(\.\d+)?\s?([kKMG]i?B|bytes)\b`, `<size>`},
		{`\b\d+(\.\d+)? ?(ms|µs|s|min)\b`, `<duration>`},
		{`[ \t]+`, ` `},
	}
	compiled := make([]struct {
		pattern *regexp.Regexp
		name    string
	}, len(list))
	for i, v := range list {
		compiled[i].pattern, compiled[i].name = regexp.MustCompile(v.pattern), v.name
	}
	return compiled
}

// normal returns the lines of an output without what differs from run to run:
// times, fingerprints, hashes, ports, pids, sizes, durations, the width of
// columns and empty lines.
func normal(text string) []string {
	rules := variable()
	var lines []string
	for line := range strings.Lines(text) {
		for _, v := range rules {
			line = v.pattern.ReplaceAllString(strings.TrimSuffix(line, "\n"), v.name)
		}
		if line = strings.TrimSpace(line); line != "" {
			lines = append(lines, line)
		}
	}
	return lines
}

// Match returns an error that shows both when got is not what a page shows.
func Match(shown, got string) error {
	want, have := normal(shown), normal(got)
	if matchLines(want, have) {
		return nil
	}
	return fmt.Errorf("the page shows\n  %s\nand it printed\n  %s", strings.Join(want, "\n  "), strings.Join(have, "\n  "))
}

// matchLines reports whether the lines are alike, where a line of want that is
// "…" alone stands for any number of lines.
func matchLines(want, have []string) bool {
	i := slices.Index(want, anything)
	if i < 0 {
		return slices.EqualFunc(want, have, matchLine)
	}
	if len(have) < i || !slices.EqualFunc(want[:i], have[:i], matchLine) {
		return false
	}
	for rest := have[i:]; ; rest = rest[1:] {
		if matchLines(want[i+1:], rest) {
			return true
		}
		if len(rest) == 0 {
			return false
		}
	}
}

// matchLine reports whether a line is as shown, where "…" stands for any text.
func matchLine(want, have string) bool {
	parts := strings.Split(want, anything)
	if len(parts) == 1 {
		return want == have
	}
	rest, ok := strings.CutPrefix(have, parts[0])
	last := parts[len(parts)-1]
	if !ok || len(rest) < len(last) || !strings.HasSuffix(rest, last) {
		return false
	}
	rest = rest[:len(rest)-len(last)]
	for _, part := range parts[1 : len(parts)-1] {
		_, after, found := strings.Cut(rest, part)
		if !found {
			return false
		}
		rest = after
	}
	return true
}
