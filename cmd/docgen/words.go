package main

import (
	"strings"

	"deploykeyd/agent/config"
)

// What both forms of the configuration reference say, in words of their own.

const configPath = "/etc/deploykeyd/deploykeyd.yaml"

// kindsBehind is the section that ends with what depends on a forge's kind.
const (
	kindsBehind = "forges[]"
	kindsTitle  = "Kinds of forges"
)

// introduction is paragraphs.
func introduction() []string {
	return []string{
		"The configuration is one YAML file, `" + configPath + "` unless `--config` names another, of one document and 1 MiB at most. " +
			"It is read when the daemon starts and when it gets SIGHUP. Only root and the user that runs the daemon may be able to change it.",
		"Nothing is accepted that this page does not name: an unknown field, a field given twice, an anchor or a type tag is refused. " +
			"`deploykeyd config check` reports everything that is wrong at once, each with its line and what to write instead, and `deploykeyd config example` prints a file to begin with.",
		"No secret stands in the file, only where it is.",
	}
}

// span is a part of a text: prose, or code that stands between backquotes.
type span struct {
	text string
	code bool
}

// spans takes a text apart. A backquote without a second one is prose.
func spans(text string) []span {
	var list []span
	for {
		before, rest, opened := strings.Cut(text, "`")
		code, after, closed := strings.Cut(rest, "`")
		if !opened || !closed {
			return append(list, span{text, false})
		}
		if before != "" || len(list) == 0 {
			list = append(list, span{before, false})
		}
		list, text = append(list, span{code, true}), after
	}
}

// fact is a name and a text about something.
type fact struct{ name, text string }

// factsOf says what there is to know of a field beside its meaning and values.
func factsOf(f config.FieldDoc) []fact {
	var list []fact
	if len(f.Values) == 0 {
		list = append(list, fact{"Form", f.Form})
	}
	switch {
	case f.Required:
		list = append(list, fact{"Required", "yes"})
	case f.Default == "{}":
		list = append(list, fact{"Default", "the defaults of its fields"})
	case f.Default != "":
		list = append(list, fact{"Default", tick(f.Default)})
	case f.Otherwise != "":
		list = append(list, fact{"Without it", f.Otherwise})
	}
	if len(f.Kinds) > 0 {
		list = append(list, fact{"Only for", ticks(f.Kinds, " and ")})
	}
	if f.Example != "" {
		list = append(list, fact{"Example", tick(f.Example)})
	}
	return list
}

func tick(code string) string { return "`" + code + "`" }

func ticks(list []string, between string) string { return tick(strings.Join(list, "`"+between+"`")) }

// kindFacts says what depends on a forge's kind.
func kindFacts(k config.KindDoc) []fact {
	url, ssh := "none: it is required", "the user `git` at the host of `url`, port 22"
	if k.URL != "" {
		url = tick(k.URL)
	}
	if k.SSH != "" {
		ssh = tick(k.SSH)
	}
	keys := "one for all repositories"
	if !k.OneKey {
		keys = "one for each repository"
	}
	access := "read"
	if k.Write {
		access = "read or write"
	}
	var credentials []string
	for _, f := range k.Credential {
		credentials = append(credentials, f.Means+" ("+formWords(f)+")")
	}
	return []fact{
		{"Default of `url`", url},
		{"Default of `ssh`", ssh},
		{"Keys", keys},
		{"Access", access},
		{"Credential", strings.Join(credentials, ", or ")},
	}
}

// formWords names the fields of a form.
func formWords(f config.FormDoc) string {
	words := ticks(f.Needs, " and ")
	if len(f.May) > 0 {
		words += ", with or without " + ticks(f.May, " and ")
	}
	return words
}

func sentence(text string) string {
	if text == "" {
		return ""
	}
	return strings.ToUpper(text[:1]) + text[1:] + "."
}
