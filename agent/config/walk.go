package config

import (
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v4"
)

const (
	maxProblems = 100 // a file with more is not what it was meant to be
	maxDepth    = 16  // the deepest field lies at 7
)

const (
	aliasText = "anchors, aliases and merge keys are not allowed"
	aliasFix  = "write the value out"
	depthText = "too deeply nested"
	depthFix  = "nothing in this file needs more than a few levels: look for a missing closing bracket"
)

// spec is what a field's row in the table says about it: enough to read it, to
// name it in messages, to describe it to a person and to check it by a schema.
type spec struct {
	name      string
	doc       string // what it means, to follow "name: "
	more      string // what else to know of it, as sentences with `code` for the reference
	is        shape  // the form of its value
	sample    string // a value as YAML, for fixes
	required  bool
	fallback  string // the default as YAML; empty where there is none, or where it depends on other fields
	otherwise string // what holds where it is left out and no fallback says so, for the reference
	later     string // set where the field is planned only: what to do without it
	secret    bool   // its value may hold a secret by mistake and is never shown
	inner     []spec // the fields of the mapping, or of the mappings in the list, below it
}

// field is a row of the table: a spec and how its value gets into a T.
type field[T any] struct {
	spec
	read func(w *walk, v value, into *T)
}

// specs returns the table without its readers.
func specs[T any](fields []field[T]) []spec {
	var list []spec
	for _, f := range fields {
		list = append(list, f.spec)
	}
	return list
}

// value is a node and what is known of its place.
type value struct {
	node   *yaml.Node
	line   int // where its key stands; 0 without one
	path   string
	secret bool   // no part of it may be repeated in a message
	is     *shape // the form that its row gives it; nil without a row
}

func (v value) key(name string) value {
	path := name
	if v.path != "" {
		path = v.path + "." + name
	}
	return value{node: v.node, path: path, secret: v.secret}
}

// walk is one reading of a tree. It collects problems and goes on.
type walk struct {
	source   *source
	problems []Problem
	nodes    []*yaml.Node       // in the order of the text
	next     map[*yaml.Node]int // index in nodes of what follows a node's subtree
}

func newWalk(src *source, root *yaml.Node) *walk {
	w := &walk{source: src, next: map[*yaml.Node]int{}}
	w.survey(root, 0)
	return w
}

// survey refuses what YAML can say and a configuration has no use for, and
// remembers the order of the nodes.
func (w *walk) survey(n *yaml.Node, depth int) {
	w.nodes = append(w.nodes, n)
	at := value{node: n}
	switch {
	case depth > maxDepth:
		w.report(at, depthText, depthFix)
	case n.Kind == yaml.AliasNode, n.Anchor != "", n.ShortTag() == "!!merge":
		w.report(at, aliasText, aliasFix)
	case n.Style&yaml.TaggedStyle != 0:
		w.report(at, "type tags are not allowed", "write the plain value")
	}
	if depth <= maxDepth {
		for _, c := range n.Content {
			w.survey(c, depth+1)
		}
	}
	w.next[n] = len(w.nodes)
}

// report adds a problem at v. A message about a secret value must not quote it.
func (w *walk) report(v value, text, fix string) {
	if len(w.problems) < maxProblems {
		w.problems = append(w.problems, Problem{
			Line: v.node.Line, Column: v.node.Column, Path: v.path, Text: text, Fix: fix,
		})
	}
}

// hide keeps a node, and all up to the next one, out of the excerpts.
func (w *walk) hide(n *yaml.Node) {
	after, ok := w.next[n]
	if !ok {
		return // a default, which is not in the text
	}
	to := position{line: len(w.source.lines) + 1}
	if after < len(w.nodes) {
		to = position{w.nodes[after].Line, w.nodes[after].Column}
	}
	w.source.hide(span{position{n.Line, n.Column}, to})
}

// found holds the values of a mapping by the names of their fields.
type found map[string]value

// readMapping reads v with the table into a T, and returns what was there. It
// returns nil when v is no mapping.
func readMapping[T any](w *walk, v value, fields []field[T], into *T) found {
	if v.node.Kind != yaml.MappingNode {
		w.wrongForm(v, "a mapping", "write its keys as \"name: value\": "+names(specs(fields)))
		return nil
	}
	here := found{}
	for i := 0; i+1 < len(v.node.Content); i += 2 {
		key, content := v.node.Content[i], v.node.Content[i+1]
		at := slices.IndexFunc(fields, func(f field[T]) bool { return f.name == key.Value && key.Kind == yaml.ScalarNode })
		if at < 0 {
			w.hide(content)
			w.unknownKey(v, key, specs(fields))
			continue
		}
		f := &fields[at]
		part := v.key(f.name)
		part.node, part.line, part.is = key, key.Line, &f.is
		earlier, twice := here[f.name]
		part.secret = part.secret || f.secret
		// What is not read is not known to be free of secrets.
		if part.secret || twice || f.read == nil {
			w.hide(content)
		}
		switch {
		case twice:
			w.report(part, fmt.Sprintf("given a second time; line %d has it already", earlier.line), "keep one of the two")
			continue
		case f.later != "":
			w.report(part, "comes with a later release ("+f.doc+")", f.later)
		}
		part.node = content
		here[f.name] = part
		if f.read != nil {
			f.read(w, part, into)
		}
	}
	fillIn(w, v, fields, here, into)
	return here
}

// fillIn reads the defaults of the fields that are not there, and reports those
// that must be.
func fillIn[T any](w *walk, v value, fields []field[T], here found, into *T) {
	for i := range fields {
		f := &fields[i]
		if _, ok := here[f.name]; ok {
			continue
		}
		part := v.key(f.name)
		switch {
		case f.required:
			w.missing(v, f.spec)
		case f.fallback != "":
			part.is = &f.is
			part.node = &yaml.Node{Kind: yaml.ScalarNode, Value: f.fallback, Line: v.node.Line, Column: v.node.Column}
			if f.fallback == "{}" {
				part.node.Kind = yaml.MappingNode
			}
			f.read(w, part, into)
		}
	}
}

// missing reports that the mapping v lacks a field that it must have.
func (w *walk) missing(v value, s spec) {
	w.report(v.key(s.name), "missing: "+s.doc, "add "+s.name+": "+s.sample)
}

// unknownKey reports a key that has no row.
func (w *walk) unknownKey(v value, key *yaml.Node, known []spec) {
	at := value{node: key, path: v.path}
	switch {
	case key.Kind == yaml.AliasNode, key.ShortTag() == "!!merge":
		return // reported by survey
	case key.Kind != yaml.ScalarNode:
		w.hide(key)
		w.report(at, "a key must be a single word", "known here: "+names(known))
		return
	}
	text := "unknown key"
	if v.secret || !isWord(key.Value) {
		w.hide(key) // a secret may have got where a key belongs
	} else {
		text = fmt.Sprintf("unknown key %q", key.Value)
	}
	w.report(at, text, fixUnknown(key.Value, known))
}

// wrongForm reports a value that is not of the form that the field has. It is
// not shown: it is unknown what it holds.
func (w *walk) wrongForm(v value, want, fix string) {
	if v.node.Kind == yaml.AliasNode {
		return // reported by survey
	}
	is := "a single value"
	switch {
	case v.node.Kind == yaml.MappingNode:
		is = "a mapping"
	case v.node.Kind == yaml.SequenceNode:
		is = "a list"
	case isNull(v.node):
		is = "empty"
	}
	if !isNull(v.node) {
		w.hide(v.node)
	}
	w.report(v, "must be "+want+", and is "+is, fix)
}

// text returns the single value that v is.
func (w *walk) text(v value, fix string) (string, bool) {
	if v.node.Kind != yaml.ScalarNode || isNull(v.node) {
		w.wrongForm(v, "a single value", fix)
		return "", false
	}
	return v.node.Value, true
}

// list returns the entries of the list that v is, which must have some.
func (w *walk) list(v value, fix string) []value {
	entries := w.entries(v, fix)
	if v.node.Kind == yaml.SequenceNode && len(entries) == 0 {
		w.report(v, "the list is empty", fix)
	}
	return entries
}

// entries returns the entries of the list that v is.
func (w *walk) entries(v value, fix string) []value {
	if v.node.Kind != yaml.SequenceNode {
		w.wrongForm(v, "a list", fix)
		return nil
	}
	var entries []value
	for i, n := range v.node.Content {
		entries = append(entries, value{node: n, path: fmt.Sprintf("%s[%d]", v.path, i), secret: v.secret, is: v.is.entries})
	}
	return entries
}

// oneOf returns the single value that v is, which must be among those that its
// row allows. It returns "" when it is not.
func (w *walk) oneOf(v value) string {
	allowed := v.is.allowed()
	choice := "write " + strings.Join(allowed, " or ")
	s, ok := w.text(v, choice)
	if !ok || slices.Contains(allowed, s) {
		return s
	}
	if near := nearest(s, allowed); near != "" {
		choice = fmt.Sprintf("did you mean %q?", near)
	}
	w.report(v, quote(s)+" is not possible", choice)
	return ""
}

// config reads the whole tree.
func (w *walk) config(root *yaml.Node) Config {
	var c Config
	top := value{node: root}
	if here := readMapping(w, top, configFields(), &c); here != nil {
		w.checkAudience(top, here)
	}
	return c
}
