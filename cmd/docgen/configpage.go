package main

import (
	"strings"

	"deploykeyd/agent/config"
)

// configManual is deploykeyd.yaml.5.
func configManual(ref config.Reference, e edition) string {
	r := newPage("deploykeyd.yaml", "5", e, "File Formats")
	r.name("deploykeyd.yaml", "configuration of deploykeyd")
	r.section("Synopsis")
	r.line("%s", escapeLine(configPath))
	r.section("Description")
	for _, p := range introduction() {
		r.text(p)
	}
	for _, s := range ref.Sections {
		r.section(s.Title)
		if s.Path != "" {
			r.text(tick(s.Path))
		}
		r.text(s.About)
		if len(s.Forms) > 1 {
			r.text("The forms:")
			forms(r, s.Forms)
			r.text("The fields:")
		}
		for _, f := range s.Fields {
			configField(r, f)
		}
		if s.Path == kindsBehind {
			kindItems(r, ref.Kinds)
		}
	}
	r.section("Examples")
	r.code(strings.Split(strings.TrimRight(config.Example(), "\n"), "\n"))
	r.section("Files")
	r.item(bold(configPath), "The configuration.")
	r.item(bold("/etc/deploykeyd/credentials/"), "Secrets that the unit hands to the daemon.")
	seeAlso(r, "deploykeyd(8)", "ssh_config(5)", "sshd(8)", "systemd.exec(5)")
	return r.String()
}

func forms(r *roff, list []config.FormDoc) {
	for _, f := range list {
		means := f.Means
		if len(f.Kinds) > 0 {
			means += ", for " + ticks(f.Kinds, " and ")
		}
		r.item(prose(formWords(f)), sentence(means))
	}
}

func configField(r *roff, f config.FieldDoc) {
	texts := []string{f.Meaning}
	for _, fact := range factsOf(f) {
		texts = append(texts, fact.name+": "+fact.text)
	}
	if f.See != "" {
		texts = append(texts, "Its fields are below, under "+strings.ToUpper(f.See)+".")
	}
	r.item(bold(f.Name), texts...)
	for _, v := range f.Values {
		r.line(".RS")
		r.item(bold(v.Value), sentence(v.Means))
		r.line(".RE")
	}
}

func kindItems(r *roff, kinds []config.KindDoc) {
	r.subsection(kindsTitle)
	for _, k := range kinds {
		texts := []string{sentence(k.Means)}
		for _, fact := range kindFacts(k) {
			texts = append(texts, fact.name+": "+fact.text)
		}
		r.item(bold(k.Kind), texts...)
	}
}
