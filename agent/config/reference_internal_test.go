package config

import (
	"slices"
	"testing"

	"go.yaml.in/yaml/v4"

	"deploykeyd/provision"
)

// TestRowsHaveTheirFacts holds that each field that can be used says all that the
// schema and the reference need.
func TestRowsHaveTheirFacts(t *testing.T) {
	titles := map[string]int{}
	var check func(rows []spec, in *mapping, path string)
	check = func(rows []spec, in *mapping, path string) {
		for _, s := range rows {
			name := path + s.name
			if s.later != "" {
				continue
			}
			for _, gap := range gaps(s, in) {
				t.Errorf("%s: %s", name, gap)
			}
			if m := s.is.mappingIn(); m != nil {
				titles[m.title]++
				if titles[m.title] > 1 && !m.shared {
					t.Errorf("%s: two fields have the mapping %q, which is not shared", name, m.name)
				}
				for _, f := range m.forms {
					for _, part := range f.names() {
						if !slices.ContainsFunc(s.inner, func(i spec) bool { return i.name == part }) {
							t.Errorf("%s: its form names %q, which is no field of it", name, part)
						}
					}
				}
				check(s.inner, m, name+".")
			}
		}
	}
	check(specs(configFields()), nil, "")
	for _, k := range usableKinds() {
		if kindMeans(k) == "" {
			t.Errorf("%s: what it is is not said", k)
		}
	}
}

// gaps returns what a row of the mapping lacks.
func gaps(s spec, in *mapping) []string {
	var list []string
	lack := func(missing bool, what string) {
		if missing {
			list = append(list, what)
		}
	}
	ends := 0
	for _, said := range []bool{s.required, s.fallback != "", s.otherwise != ""} {
		if said {
			ends++
		}
	}
	if in != nil && slices.ContainsFunc(in.forms, func(f form) bool { return slices.Contains(f.needs, s.name) }) {
		ends++
	}
	lack(ends != 1, "it is not said, or said twice, what holds when it is left out")
	lack(s.is.String() == "", "its form has no words")
	lack(s.sample == "" && s.fallback == "", "no sample and no default")
	m := s.is.mappingIn()
	lack((m != nil) != (len(s.inner) > 0), "fields below it without a mapping, or the reverse")
	lack(m != nil && (m.name == "" || m.title == "" || m.about == ""), "its mapping has no name, no title or nothing about it")
	for _, c := range s.is.choices {
		lack(c.means == "", "it is not said what "+c.value+" means")
	}
	return list
}

// TestGapsAreFound has rows that lack something.
func TestGapsAreFound(t *testing.T) {
	fine := spec{name: "a", doc: "x", sample: "1", required: true, is: word(nil, "a word")}
	if found := gaps(fine, nil); len(found) > 0 {
		t.Errorf("a row without gaps: %q", found)
	}
	for name, spoil := range map[string]func(*spec){
		"no form":             func(s *spec) { s.is = shape{} },
		"no sample":           func(s *spec) { s.sample = "" },
		"required by nothing": func(s *spec) { s.required = false },
		"required twice":      func(s *spec) { s.otherwise = "x" },
		"a nameless choice":   func(s *spec) { s.is = oneOf(choice{"a", ""}) },
		"no mapping":          func(s *spec) { s.inner = []spec{fine} },
		"a bare mapping":      func(s *spec) { s.inner, s.is = []spec{fine}, mappingOf(mapping{}) },
	} {
		s := fine
		spoil(&s)
		if len(gaps(s, nil)) == 0 {
			t.Errorf("%s is not found", name)
		}
	}
}

// TestReferenceIsComplete holds that each field is described once, at the place
// that its path names, and that what it refers to is there.
func TestReferenceIsComplete(t *testing.T) {
	r := ReferenceDoc()
	paths := map[string]bool{}
	titles := map[string]bool{}
	for _, s := range r.Sections {
		titles[s.Title] = true
		for _, f := range s.Fields {
			if paths[f.Path] {
				t.Errorf("%s is described twice", f.Path)
			}
			paths[f.Path] = true
		}
	}
	for _, s := range r.Sections {
		for _, f := range s.Fields {
			if f.See != "" && !titles[f.See] {
				t.Errorf("%s refers to %q, which is not there", f.Path, f.See)
			}
		}
	}
	var check func(rows []spec, path string)
	check = func(rows []spec, path string) {
		for _, s := range rows {
			here := join(path, s.name)
			m := s.is.mappingIn()
			if (s.later == "") != paths[here] {
				t.Errorf("%s: described %v, planned %q", here, paths[here], s.later)
			}
			if m == nil {
				continue
			}
			below := here
			if s.is.entries != nil {
				below += "[]"
			}
			if m.shared {
				below = ""
			}
			check(s.inner, below)
		}
	}
	check(specs(configFields()), "")
	var places []string
	for _, s := range r.Sections {
		places = append(places, s.Path)
	}
	if want := []string{"", "forges[]", "forges[].credential", "", "forges[].repositories[]", "key", "shutdown"}; !slices.Equal(places, want) {
		t.Errorf("sections of %q, want %q", places, want)
	}
}

// TestKindsOfFields holds that what is for some kinds alone says so.
func TestKindsOfFields(t *testing.T) {
	want := map[string][]string{
		"username": {"bitbucket-cloud"}, "client_id": {"bitbucket-cloud"}, "client_secret": {"bitbucket-cloud"},
		"app_id": {"github"}, "installation_id": {"github"}, "private_key": {"github"},
	}
	for _, s := range ReferenceDoc().Sections {
		for _, f := range s.Fields {
			if !slices.Equal(f.Kinds, want[f.Name]) {
				t.Errorf("%s is for %q, want %q", f.Path, f.Kinds, want[f.Name])
			}
		}
	}
	kinds := ReferenceDoc().Kinds
	if len(kinds) != len(usableKinds()) {
		t.Fatalf("kinds %+v", kinds)
	}
	for _, k := range kinds {
		traits := provision.TraitsOf(provision.Kind(k.Kind))
		if k.URL != traits.DefaultURL || k.OneKey == traits.KeyPerRepository || k.Write != traits.WriteAccess || len(k.Credential) == 0 {
			t.Errorf("%+v does not say what %+v does", k, traits)
		}
	}
}

// TestSamplesAreYAML holds that what a person may copy can be read.
func TestSamplesAreYAML(t *testing.T) {
	for _, s := range ReferenceDoc().Sections {
		for _, f := range s.Fields {
			var read map[string]any
			if err := yaml.Load([]byte(f.Example), &read); f.Example != "" && (err != nil || len(read) != 1) {
				t.Errorf("%s: %q is %v, %v", f.Path, f.Example, read, err)
			}
		}
	}
}
