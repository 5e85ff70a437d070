package config

import (
	"regexp"
	"strings"
	"time"
)

// shape is the form that a value has. What reads the value, what the schema says
// of it and what the reference says of it come from here.
type shape struct {
	words string // the form for a person, to follow "it is", with `code`; empty where the rest says it

	// A single value.
	pattern     *regexp.Regexp // what it matches; nil for any
	longest     int            // how many characters it may have, where the pattern does not say it
	choices     []choice       // the only values that are possible
	least, most time.Duration  // the bounds, both included, of a length of time

	// A list.
	entries *shape
	fewest  int  // how many entries it must have
	largest int  // how many it may have; 0 for any number
	unique  bool // no entry may be there twice

	// A mapping. Its fields are the inner ones of the row that has the shape.
	mapping *mapping

	or *shape // another form, which is as good
}

// choice is one of the values that are possible, and what it stands for.
type choice struct{ value, means string }

// mapping is what there is to say of a mapping beside its fields.
type mapping struct {
	name   string        // what the schema calls it
	title  string        // what the reference calls it
	about  string        // what to know before its fields, as sentences with `code`
	shared bool          // several fields have it
	forms  []form        // exactly one of which it has, if there are any
	rules  func() object // what the schema holds it to beyond its fields; may be nil
}

// word is a single value that matches a pattern; nil stands for any value.
func word(pattern *regexp.Regexp, words string) shape { return shape{words: words, pattern: pattern} }

// upTo is a word with a limit to its characters. A pattern that repeats hundreds of
// times would say the same, in a hundred kilobytes for as long as the daemon runs.
func (s shape) upTo(longest int) shape {
	s.longest = longest
	return s
}

// matches reports whether a single value has the form.
func (s *shape) matches(text string) bool {
	return s.pattern.MatchString(text) && (s.longest == 0 || len(text) <= s.longest)
}

// oneOf is a single value out of few.
func oneOf(choices ...choice) shape { return shape{choices: choices} }

// between is a length of time from least to most.
func between(least, most time.Duration) shape { return shape{least: least, most: most} }

// mappingOf is a mapping, to whose name the schema and the reference refer.
func mappingOf(m mapping) shape { return shape{mapping: &m} }

// allowed returns the values that are possible.
func (s *shape) allowed() []string {
	var values []string
	for _, c := range s.choices {
		values = append(values, c.value)
	}
	return values
}

// isTime reports whether the value is a length of time.
func (s *shape) isTime() bool { return s.most > 0 }

// mappingIn returns the mapping that the value is, or has in a list, or may be
// instead; nil without one.
func (s *shape) mappingIn() *mapping {
	for ; s != nil; s = s.or {
		if s.mapping != nil {
			return s.mapping
		}
		if m := s.entries.mappingIn(); m != nil {
			return m
		}
	}
	return nil
}

// String says the form in words, to follow "it is".
func (s *shape) String() string {
	switch {
	case s == nil:
		return ""
	case s.words != "":
		return s.words
	case len(s.choices) > 0:
		return "`" + strings.Join(s.allowed(), "` or `") + "`"
	case s.isTime():
		return "a time such as `90s`, `30m`, `24h` or `7d`, from `" + spell(s.least) + "` to `" + spell(s.most) + "`"
	case s.mapping != nil:
		return "a mapping"
	}
	return ""
}
