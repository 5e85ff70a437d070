package main

import (
	"strconv"
	"strings"

	"deploykeyd/cmd/deploykeyd/cli"
)

// commandManual is deploykeyd.8. The first page is the program's, the others are
// its commands'.
func commandManual(pages []cli.CommandPage, e edition) string {
	program, commands := pages[0], pages[1:]
	r := newPage(program.Name, "8", e, "System Administration")
	r.name(program.Name, strings.ToLower(program.Short[:1])+program.Short[1:])

	r.section("Synopsis")
	var lines []string
	for _, c := range commands {
		if !c.Group {
			lines = append(lines, synopsis(c))
		}
	}
	r.line("%s", strings.Join(lines, "\n.br\n"))
	r.section("Description")
	r.text(program.Long)
	r.section("Options")
	r.text("Every command has these, in front of its name or behind it.")
	flags(r, program.Flags)
	r.item(bold("-h")+", "+bold("--help"), "Print the help of the command.")

	r.section("Commands")
	for _, c := range commands {
		if !c.Group {
			command(r, c)
		}
	}
	r.section("Exit status")
	for _, s := range cli.ExitStatuses() {
		r.item(bold(strconv.Itoa(s.Status)), s.Means)
	}
	writeChapters(r, commandChapters())
	r.section("Examples")
	r.code(strings.Split(unindent(program.Example), "\n"))
	seeAlso(r, "deploykeyd.yaml(5)", "git(1)", "ssh-agent(1)", "ssh_config(5)", "systemd.exec(5)", "systemd.service(5)")
	return r.String()
}

// synopsis is a command with all its flags, in one line.
func synopsis(c cli.CommandPage) string {
	words := strings.Fields(strings.TrimPrefix(c.Synopsis, c.Name))
	parts := []string{bold(c.Name)}
	for _, f := range c.Flags {
		parts = append(parts, "["+flagTerm("--"+f.Name, f.Value)+"]")
	}
	for _, w := range words {
		parts = append(parts, italic(w))
	}
	return strings.Join(parts, " ")
}

func flagTerm(name, value string) string {
	if value == "" {
		return bold(name)
	}
	return bold(name) + " " + italic(value)
}

func command(r *roff, c cli.CommandPage) {
	r.subsection(c.Synopsis)
	long := c.Long
	if long == "" {
		long = c.Short + "."
	}
	r.text(long)
	flags(r, c.Flags)
	if c.Example != "" {
		r.text("For example:")
		r.code(strings.Split(unindent(c.Example), "\n"))
	}
}

func flags(r *roff, list []cli.FlagPage) {
	for _, f := range list {
		term := flagTerm("--"+f.Name, f.Value)
		if f.Shorthand != "" {
			term = bold("-"+f.Shorthand) + ", " + term
		}
		text := strings.ToUpper(f.Usage[:1]) + f.Usage[1:] + "."
		if f.Default != "" {
			text += " The default is " + f.Default + "."
		}
		r.item(term, text)
	}
}

// unindent removes the indentation that help texts have in common.
func unindent(text string) string {
	_, lines := outdent(strings.Split(strings.TrimRight(text, "\n"), "\n"))
	return strings.Join(lines, "\n")
}

func seeAlso(r *roff, pages ...string) {
	r.section("See also")
	var terms []string
	for _, p := range pages {
		name, section, _ := strings.Cut(p, "(")
		terms = append(terms, bold(name)+"("+section)
	}
	r.line("%s", strings.Join(terms, ",\n"))
}
