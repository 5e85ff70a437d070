package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v4"

	"deploykeyd/provision"
)

// maxRepository is the longest path in bytes that is taken for a repository's.
// No forge is known to allow more for a name and its owner.
const maxRepository = 512

func readRepositories(w *walk, v value, d *forgeDraft) {
	rows := entryFields()
	for _, entry := range w.list(v, `write a list, such as "- acme/api"`) {
		draft := repositoryDraft{name: entry}
		draft.Access = provision.Read
		draft.Line = entry.node.Line
		if entry.node.Kind == yaml.MappingNode {
			draft.name.node = nil
			here := readMapping(w, entry, rows, &draft)
			_, named := here["repository"]
			if _, project := here["project"]; !named && !project {
				w.report(entry.key("repository"), "missing: which one is meant", "add repository: acme/api")
			}
		}
		if draft.name.node != nil {
			// Here and not with the check, which needs the forge's kind: no
			// forge has such a repository.
			if draft.name.node.Kind != yaml.ScalarNode || mayHoldSecret(draft.name.node.Value) {
				w.hide(draft.name.node)
			}
			d.repositories = append(d.repositories, draft)
		}
	}
}

// finishRepositories checks the entries by the rules of the forge's kind.
func (w *walk) finishRepositories(d *forgeDraft, traits provision.Traits) {
	const fix = "write owner/name"
	const urlFix = "write owner/name, not a URL; if there was a password or a token in it, revoke it"
	for i := range d.repositories {
		draft := &d.repositories[i]
		s, ok := w.text(draft.name, fix)
		if !ok {
			continue
		}
		switch {
		case len(s) > maxRepository:
			w.report(draft.name, "too long for a repository", fix)
			continue
		case strings.Contains(s, "://"), strings.Contains(s, "@"):
			w.report(draft.name, "a URL, and not a repository's path", urlFix)
			continue
		case strings.ContainsAny(s, "*?[]"):
			w.report(draft.name, "patterns come with a later release", "list the repositories one by one")
			continue
		}
		r, err := provision.ParseRepository(d.Kind, s)
		if err != nil {
			text := err.Error()
			if mayHoldSecret(s) {
				text = "only letters, digits and . _ - ~ { } are allowed" // the error quotes s
			}
			w.report(draft.name, text, fix)
			continue
		}
		draft.Repository = r
		if draft.Access == provision.Write && !traits.WriteAccess {
			w.report(draft.access, fmt.Sprintf("a deploy key of %s can only read", d.Kind), "write read, or leave access out")
		}
		d.Repositories = append(d.Repositories, draft.RepositoryEntry)
	}
}

// claim refuses a repository that another entry has already: two keys, two
// accesses and two states would stand for one thing.
func (w *walk) claim(d forgeDraft, claims map[string]int) {
	if d.URL == "" {
		return
	}
	for _, draft := range d.repositories {
		if draft.Repository == "" {
			continue
		}
		// Every forge finds repositories without regard to case.
		id := d.URL + "\x00" + strings.ToLower(string(draft.Repository))
		if line, taken := claims[id]; taken {
			w.report(draft.name, fmt.Sprintf("%s is claimed twice: line %d has it already", draft.Repository, line), "keep one of the two")
			continue
		}
		claims[id] = draft.Line
	}
}
