package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"

	"go.yaml.in/yaml/v4"
)

// document parses the text into the tree of its one document.
func (s *source) document(text []byte) (*yaml.Node, *Problem) {
	loader, err := yaml.NewLoader(bytes.NewReader(text))
	if err != nil {
		return nil, s.syntax(err)
	}
	var first, second yaml.Node
	err = loader.Load(&first)
	empty := errors.Is(err, io.EOF) || err == nil && (len(first.Content) == 0 || isNull(first.Content[0]))
	switch {
	case empty:
		return nil, &Problem{Text: "the file is empty", Fix: `"deploykeyd config example" prints a file to begin with`}
	case err != nil:
		return nil, s.syntax(err)
	}
	if err := loader.Load(&second); !errors.Is(err, io.EOF) {
		p := &Problem{
			Line: second.Line, Column: second.Column, Text: "a second document begins here",
			Fix: `keep one document in the file: remove the line "---" and what follows it`,
		}
		if err != nil {
			p = s.syntax(err)
		}
		return nil, p
	}
	s.words = nil // from here on the tree says what has to be hidden
	return first.Content[0], nil
}

func isNull(n *yaml.Node) bool { return n.Kind == yaml.ScalarNode && n.ShortTag() == "!!null" }

// syntax puts a YAML reader's error into words of our own: the reader's may
// hold a piece of the text, which may be a secret.
func (s *source) syntax(err error) *Problem {
	e, ok := errors.AsType[*yaml.LoadError](err)
	if !ok {
		return &Problem{Text: "the file is not YAML", Fix: `"deploykeyd config example" prints a file to begin with`}
	}
	at := position{e.Mark.Line, e.Mark.Column}
	began := position{e.ContextMark.Line, e.ContextMark.Column}
	text, fix, where := s.explain(e.Message, at, began)
	if last := len(s.lines); where.line > last {
		where = position{last, len([]rune(s.lines[last-1])) + 1} // the end of a file without a last line break
	}
	return &Problem{Line: where.line, Column: where.column, Text: text, Fix: fix}
}

// explain returns the text, the fix and the place for a message of the YAML
// reader about something at one place that began at another. The messages that
// carry a piece of the file are known by their fixed part.
func (s *source) explain(message string, at, began position) (text, fix string, where position) {
	has := func(part string) bool { return strings.Contains(message, part) }
	if began.line == 0 {
		began = at
	}
	switch {
	case has("cannot start any token") && s.at(at) == '\t':
		return "a tab: YAML is indented with spaces only", "replace the tab by spaces", at
	case has("cannot start any token"):
		return "a value cannot begin with this character", "put the value in quotes", at
	case has("mapping values are not allowed"):
		return `": " is not possible here`, "put a value that contains it in quotes, and indent the keys of one mapping alike", at
	case has("expected ',' or ']'"):
		return fmt.Sprintf("the list that begins here is not closed before line %d", at.line), "close it with ], and put commas between its entries", began
	case has("expected ',' or '}'"):
		return fmt.Sprintf("the mapping that begins here is not closed before line %d", at.line), "close it with }, and put commas between its entries", began
	case has("expected key"), has("expected '-' indicator"):
		return fmt.Sprintf("this does not fit into the block that begins at line %d", began.line), "indent the keys and the dashes of one block alike", at
	case has("expected ':'"):
		return "a key without a value", `write "key: value"`, began
	case has("unexpected end of stream"):
		return "the quotes are not closed", "close them", began
	case has("unknown escape character"):
		return "an unknown escape in double quotes", `write a backslash as \\, or use single quotes`, at
	case has("directive"), has("incompatible YAML document"):
		return "a line cannot begin with % here", "remove the line", at
	case has("unknown anchor"):
		return aliasText, aliasFix, at
	case has("exceeded max depth"):
		return depthText, depthFix, at
	}
	return "the text is not YAML from here on", "look for a missing quote, bracket or colon here and on the line before", began
}

// at returns the character at a place, or 0.
func (s *source) at(p position) rune {
	if p.line < 1 || p.line > len(s.lines) {
		return 0
	}
	if line := []rune(s.lines[p.line-1]); p.column >= 1 && p.column <= len(line) {
		return line[p.column-1]
	}
	return 0
}
