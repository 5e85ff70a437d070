package config

import (
	"slices"
	"strings"

	"deploykeyd/provision"
)

// Reference is what a person has to know of the configuration, made from the
// table of fields. Fields that are only planned are not in it.
type Reference struct {
	Sections []Section
	Kinds    []KindDoc
}

// Section describes a mapping of the configuration.
type Section struct {
	Title  string
	Path   string // "forges[].credential"; "" for the top level, and for what several fields have
	About  string // sentences
	Forms  []FormDoc
	Fields []FieldDoc
}

// FormDoc is fields of a section that belong together. Where a section has
// forms, a file has exactly one of them.
type FormDoc struct {
	Means      string // such as "an access token"
	Needs, May []string
	Kinds      []string // the kinds of forges that take it; nil where that does not matter
}

// FieldDoc describes a field. Of Required, Default and Otherwise at most one is
// set; with none, the section's forms say when it is needed.
type FieldDoc struct {
	Name     string
	Path     string // its name behind its section's path
	Meaning  string // sentences
	Form     string // in words, to follow "it is"
	Values   []ValueDoc
	Kinds    []string // the only kinds of forges that take it; nil for all
	Required bool
	Default  string // as YAML
	// Otherwise says in words what holds where the field is left out.
	Otherwise string
	Example   string // as YAML, with the name; empty where the fields below say it, or the default does
	See       string // the title of the section that describes the mapping in it; may be empty
}

// ValueDoc is one of the values that a field can have.
type ValueDoc struct{ Value, Means string }

// KindDoc is what depends on the kind of a forge.
type KindDoc struct {
	Kind       string
	Means      string // the product
	URL        string // the default of url; empty where it is required
	SSH        string // the default of ssh; empty where it follows from url
	OneKey     bool   // one key serves all repositories; else each has its own
	Write      bool   // keys can be allowed to push
	Credential []FormDoc
}

// ReferenceDoc returns the reference.
func ReferenceDoc() Reference {
	rows := specs(configFields())
	r := Reference{Sections: []Section{{Title: "Top level", About: "The file is one mapping of these fields.", Fields: fieldDocs(rows, "")}}}
	r.describe(rows, "")
	for _, k := range usableKinds() {
		r.Kinds = append(r.Kinds, kindDoc(k))
	}
	return r
}

// describe adds a section for each mapping below the rows.
func (r *Reference) describe(rows []spec, path string) {
	for _, s := range rows {
		m := s.is.mappingIn()
		if m == nil || m.shared && slices.ContainsFunc(r.Sections, func(there Section) bool { return there.Title == m.title }) {
			continue
		}
		below := ""
		if !m.shared {
			below = join(path, s.name)
			if s.is.entries != nil {
				below += "[]"
			}
		}
		section := Section{Title: m.title, Path: below, About: m.about, Fields: fieldDocs(s.inner, below)}
		for _, f := range m.forms {
			section.Forms = append(section.Forms, f.describe())
		}
		r.Sections = append(r.Sections, section)
		r.describe(s.inner, below)
	}
}

func join(path, name string) string {
	if path == "" {
		return name
	}
	return path + "." + name
}

func fieldDocs(rows []spec, path string) []FieldDoc {
	var docs []FieldDoc
	for _, s := range rows {
		if s.later != "" {
			continue
		}
		d := FieldDoc{
			Name: s.name, Path: join(path, s.name), Meaning: meaning(s), Form: s.is.String(), Kinds: only(kindsWith(s.name)),
			Required: s.required, Default: s.fallback, Otherwise: s.otherwise,
		}
		if s.sample != "" && (s.is.entries == nil || s.is.entries.mapping == nil) { // the fields of entries have their own
			d.Example = s.name + ": " + s.sample
		}
		for _, c := range s.is.choices {
			d.Values = append(d.Values, ValueDoc{c.value, c.means})
		}
		if inner := s.is.mappingIn(); inner != nil {
			d.See = inner.title
		}
		docs = append(docs, d)
	}
	return docs
}

// only names kinds, or returns nil when they are all.
func only(kinds []provision.Kind) []string {
	if len(kinds) == len(usableKinds()) {
		return nil
	}
	return kindNames(kinds)
}

func kindNames(kinds []provision.Kind) []string {
	var names []string
	for _, k := range kinds {
		names = append(names, string(k))
	}
	return names
}

func (f form) describe() FormDoc {
	return FormDoc{Means: f.means, Needs: f.needs, May: f.may, Kinds: kindNames(kindsOf(f))}
}

func kindDoc(k provision.Kind) KindDoc {
	traits := provision.TraitsOf(k)
	d := KindDoc{
		Kind: string(k), Means: kindMeans(k), URL: traits.DefaultURL,
		OneKey: !traits.KeyPerRepository, Write: traits.WriteAccess,
	}
	if traits.DefaultSSH != (provision.SSHAddress{}) {
		d.SSH = traits.DefaultSSH.String()
	}
	for _, f := range formsOf(k) {
		d.Credential = append(d.Credential, f.describe())
	}
	return d
}

// meaning says in sentences what a field means.
func meaning(s spec) string {
	text := sentence(s.doc)
	if s.more != "" {
		text += " " + s.more
	}
	return text
}

// sentence makes one of a text that follows a name.
func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
