package config

import (
	"regexp"
	"slices"
	"testing"
)

// TestTable checks that each row can be documented, and that the example shows
// each field that can be used.
func TestTable(t *testing.T) {
	var check func(list []spec, path string)
	check = func(list []spec, path string) {
		seen := map[string]bool{}
		for _, s := range list {
			name := path + s.name
			if s.doc == "" || seen[s.name] {
				t.Errorf("%s: no doc, or twice in its table", name)
			}
			seen[s.name] = true
			if s.required && (s.sample == "" || s.fallback != "" || s.later != "") {
				t.Errorf("%s: required, without a sample or with a default", name)
			}
			if s.later == "" && (s.sample == "") == (s.fallback == "") {
				t.Errorf("%s: sample %q, default %q, want one of the two", name, s.sample, s.fallback)
			}
			shown := regexp.MustCompile(`(?m)[ {]` + s.name + `:|^(# )?` + s.name + `:`).MatchString(Example())
			if shown != (s.later == "") {
				t.Errorf("%s: in the example %v, planned %q", name, shown, s.later)
			}
			check(s.inner, name+".")
		}
	}
	check(specs(configFields()), "")
}

// TestForms holds that each field of a credential belongs to one form, but for
// the username, and that the forms name no other fields.
func TestForms(t *testing.T) {
	forms := map[string]int{"username": 1}
	token, oauth, app := credentialForms()
	for _, f := range []form{token, oauth, app} {
		for _, name := range slices.Concat(f.needs, f.may) {
			forms[name]++
		}
	}
	rows := specs(credentialFields())
	for _, s := range rows {
		if forms[s.name] != 1 {
			t.Errorf("%s belongs to %d forms", s.name, forms[s.name])
		}
	}
	if len(forms) != len(rows) {
		t.Errorf("%d fields in the forms, %d in the table", len(forms), len(rows))
	}
}

func TestDistance(t *testing.T) {
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "abc", 3}, {"abc", "", 3}, {"kind", "kind", 0}, {"kynd", "kind", 1}, {"knid", "kind", 1}, {"usrs", "users", 1}, {"token", "kind", 4},
	} {
		if got := distance(c.a, c.b); got != c.want {
			t.Errorf("distance(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
}

func TestDurations(t *testing.T) {
	for _, text := range []string{"", "d", "7", "1d2", "1d-1h", "-1d", "99999999999d", "1d999999h", "1.5d", "1d1d"} {
		if d, err := parseDuration(text); err == nil {
			t.Errorf("parseDuration(%q) = %s", text, d)
		}
	}
	for text, want := range map[string]string{"7d": "168h0m0s", "1d12h": "36h0m0s", "90m": "1h30m0s", "0d": "0s"} {
		if d, err := parseDuration(text); err != nil || d.String() != want {
			t.Errorf("parseDuration(%q) = %s, %v; want %s", text, d, err, want)
		}
	}
}
