package config

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// Problem is one thing that is wrong with a configuration.
type Problem struct {
	Line, Column int    // from 1, columns in characters; a Line of 0 is no place in the file
	Path         string // "forges[0].credential.token"; may be empty
	Text         string // what is wrong
	Fix          string // what to write instead; may be empty
}

// Problems is everything that is wrong with a configuration, in the order of
// the file. It is an error.
type Problems struct {
	List   []Problem
	source *source
}

// refuse returns the error for the problems, or nil when there are none.
func (s *source) refuse(list []Problem) error {
	if len(list) == 0 {
		return nil
	}
	sorted := slices.SortedStableFunc(slices.Values(list), func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return &Problems{List: sorted, source: s}
}

// Error renders every problem with its line of the file and its fix. Text that
// may be a secret is left out.
func (p *Problems) Error() string {
	var b strings.Builder
	b.WriteString(p.source.name)
	switch n := len(p.List); {
	case n == 1:
		b.WriteString(": 1 problem\n")
	case n < maxProblems:
		fmt.Fprintf(&b, ": %d problems\n", n)
	default:
		fmt.Fprintf(&b, ": %d problems, and perhaps more\n", n)
	}
	for _, problem := range p.List {
		b.WriteByte('\n')
		p.render(&b, problem)
	}
	return strings.TrimSuffix(b.String(), "\n")
}

func (p *Problems) render(b *strings.Builder, problem Problem) {
	if problem.Line > 0 {
		fmt.Fprintf(b, "line %d, column %d: ", problem.Line, max(problem.Column, 1))
	}
	if problem.Path != "" {
		b.WriteString(problem.Path + ": ")
	}
	b.WriteString(problem.Text + "\n")
	if text, caret, ok := p.source.excerpt(problem.Line, problem.Column); ok {
		number := strconv.Itoa(problem.Line)
		margin := strings.Repeat(" ", len(number))
		fmt.Fprintf(b, "  %s | %s\n  %s | %s^\n", number, text, margin, strings.Repeat(" ", caret))
	}
	if problem.Fix != "" {
		b.WriteString("  fix: " + problem.Fix + "\n")
	}
}
