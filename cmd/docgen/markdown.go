package main

import (
	"strings"
	"unicode"

	"deploykeyd/agent/config"
)

// refresh is how docs/configuration.md is made anew.
const refresh = "go run ./cmd/docgen reference > docs/configuration.md"

// page is Markdown in the making, as GitHub reads it.
type page struct{ b strings.Builder }

// markdown is docs/configuration.md.
func markdown(ref config.Reference) string {
	m := &page{}
	m.block("# Configuration")
	m.block("<!-- Made from the table of fields in agent/config by: " + refresh + " -->")
	for _, p := range introduction() {
		m.block(escapeProse(p))
	}
	m.contents(ref.Sections)
	for _, s := range ref.Sections {
		m.section(s, anchors(ref.Sections))
		if s.Path == kindsBehind {
			m.kinds(ref.Kinds)
		}
	}
	m.block("## " + editorTitle)
	m.block("An editor with a YAML language server, such as VS Code with the YAML extension, checks and completes the file by its JSON Schema. " +
		"Write the schema beside the configuration, and name it in the configuration's first line:")
	m.code("console", "# deploykeyd config schema > /etc/deploykeyd/deploykeyd.schema.json")
	m.code("yaml config part", "# yaml-language-server: $schema=deploykeyd.schema.json")
	m.block("What the schema refuses the daemon refuses too; `deploykeyd config check` knows more.")
	m.block("## " + exampleTitle)
	m.block("This is what `deploykeyd config example` prints.")
	m.code("yaml config", strings.TrimRight(config.Example(), "\n"))
	return strings.TrimRight(m.b.String(), "\n") + "\n"
}

const (
	editorTitle  = "Checks while you write"
	exampleTitle = "A whole example"
)

// block adds lines that an empty one parts from what follows.
func (m *page) block(text string) { m.b.WriteString(text + "\n\n") }

func (m *page) code(language, text string) { m.block("```" + language + "\n" + text + "\n```") }

func (m *page) table(head []string, rows [][]string) {
	lines := []string{row(head), row(strings.Fields(strings.Repeat("--- ", len(head))))}
	for _, cells := range rows {
		lines = append(lines, row(cells))
	}
	m.block(strings.Join(lines, "\n"))
}

// row is a line of a table. A bar in a cell would end it.
func row(cells []string) string {
	var escaped []string
	for _, c := range cells {
		escaped = append(escaped, strings.ReplaceAll(c, "|", `\|`))
	}
	return "| " + strings.Join(escaped, " | ") + " |"
}

func (m *page) contents(sections []config.Section) {
	var lines []string
	for _, s := range sections {
		lines = append(lines, "- "+link(heading(s), heading(s)))
		if s.Path == kindsBehind {
			lines = append(lines, "- "+link(kindsTitle, kindsTitle))
		}
	}
	lines = append(lines, "- "+link(editorTitle, editorTitle), "- "+link(exampleTitle, exampleTitle))
	m.block(strings.Join(lines, "\n"))
}

func heading(s config.Section) string {
	if s.Path == "" {
		return s.Title
	}
	return s.Title + ": " + tick(s.Path)
}

// anchors returns the heading of the section that has a title.
func anchors(sections []config.Section) map[string]string {
	headings := map[string]string{}
	for _, s := range sections {
		headings[s.Title] = heading(s)
	}
	return headings
}

func (m *page) section(s config.Section, headings map[string]string) {
	m.block("## " + heading(s))
	m.block(escapeProse(s.About))
	if len(s.Forms) > 1 {
		m.forms(s.Forms)
	}
	var rows [][]string
	for _, f := range s.Fields {
		rows = append(rows, []string{link(tick(f.Name), tick(f.Path)), escapeProse(summary(f)), escapeProse(leftOut(f))})
	}
	m.table([]string{"field", "what it is", "if left out"}, rows)
	for _, f := range s.Fields {
		m.field(f, headings)
	}
}

// forms says which fields belong together, and where they do.
func (m *page) forms(list []config.FormDoc) {
	head, rows := []string{"fields", "what they are"}, [][]string{}
	for _, f := range list {
		cells := []string{escapeProse(formWords(f)), escapeProse(f.Means)}
		if len(f.Kinds) > 0 {
			head, cells = []string{"fields", "what they are", "kinds of forges"}, append(cells, ticks(f.Kinds, ", "))
		}
		rows = append(rows, cells)
	}
	m.table(head, rows)
}

func (m *page) field(f config.FieldDoc, headings map[string]string) {
	m.block("### " + tick(f.Path))
	m.block(escapeProse(f.Meaning))
	var lines []string
	for _, fact := range factsOf(f) {
		lines = append(lines, "- "+escapeProse(fact.name+": "+fact.text))
	}
	if f.See != "" {
		lines = append(lines, "- Its fields: "+link(escapeProse(f.See), headings[f.See]))
	}
	for _, v := range f.Values {
		lines = append(lines, "- "+tick(v.Value)+": "+escapeProse(v.Means))
	}
	m.block(strings.Join(lines, "\n"))
}

// leftOut says in few words what holds without the field.
func leftOut(f config.FieldDoc) string {
	switch {
	case f.Required:
		return "required"
	case f.Default == "{}":
		return "the defaults of its fields"
	case f.Default != "":
		return tick(f.Default)
	case f.Otherwise != "":
		return f.Otherwise
	}
	return "what the forms say"
}

// summary is the first sentence of what a field means, without its full stop.
func summary(f config.FieldDoc) string {
	first, _, _ := strings.Cut(f.Meaning, ". ")
	return strings.TrimSuffix(first, ".")
}

// kinds is a table with a column for each kind.
func (m *page) kinds(list []config.KindDoc) {
	m.block("## " + kindsTitle)
	head := []string{""}
	rows := [][]string{{"Product"}}
	for i, k := range list {
		head = append(head, tick(k.Kind))
		rows[0] = append(rows[0], escapeProse(k.Means))
		for j, fact := range kindFacts(k) {
			if i == 0 {
				rows = append(rows, []string{escapeProse(fact.name)})
			}
			rows[j+1] = append(rows[j+1], escapeProse(fact.text))
		}
	}
	m.table(head, rows)
}

// link is a link to a heading of the page.
func link(text, heading string) string { return "[" + text + "](#" + anchor(heading) + ")" }

// anchor is what GitHub makes of a heading: letters, digits, dashes and
// underscores, with dashes for spaces.
func anchor(heading string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r == ' ':
			return '-'
		case r == '-', r == '_', unicode.IsLetter(r), unicode.IsDigit(r):
			return unicode.ToLower(r)
		}
		return -1
	}, heading)
}

// escapeProse keeps text with code from being taken for other markup.
func escapeProse(text string) string {
	markup := strings.NewReplacer(`\`, `\\`, "*", `\*`, "<", `\<`, "[", `\[`, "]", `\]`, "`", "\\`")
	var b strings.Builder
	for _, s := range spans(text) {
		if s.code {
			b.WriteString(tick(s.text))
		} else {
			b.WriteString(markup.Replace(s.text))
		}
	}
	return b.String()
}
