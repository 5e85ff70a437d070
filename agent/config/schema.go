package config

import (
	"bytes"
	"encoding/json"
	"strings"

	"deploykeyd/provision"
)

// Schema returns the JSON Schema (2020-12) of the configuration, for editors: it
// is made from the table of fields. What it refuses Parse refuses too. Parse
// alone is the judge of what it accepts: whether a host's keys are built in, or
// a repository is claimed twice, no schema can say.
//
// YAML takes some words for numbers or for true and false. Parse takes what
// stands there; the schema knows numbers where they can be meant, and wants
// quotes around a name that is true or false.
func Schema() string {
	c := schemaWriter{}
	root := shape{mapping: &mapping{rules: audienceRules}}
	top := object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", "deploykeyd.yaml"},
		{"description", "The configuration of deploykeyd, deploykeyd.yaml(5)."},
	}
	top = append(top, c.fields(root.mapping, specs(configFields()))...)
	top = append(top, member{"$defs", c.definitions})
	var text bytes.Buffer
	enc := json.NewEncoder(&text)
	enc.SetEscapeHTML(false)
	enc.SetIndent("", "  ")
	if err := enc.Encode(top); err != nil {
		panic("config: the schema has no JSON form: " + err.Error()) // it is made of strings and numbers
	}
	return text.String()
}

// object is a JSON object with its members in order.
type object []member

type member struct {
	name  string
	value any
}

// MarshalJSON keeps the order of the members.
func (o object) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	b.WriteByte('{')
	for i, m := range o {
		if i > 0 {
			b.WriteByte(',')
		}
		if err := enc.Encode(m.name); err != nil {
			return nil, err
		}
		b.WriteByte(':')
		if err := enc.Encode(m.value); err != nil {
			return nil, err
		}
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// has reports whether o has a member of that name.
func (o object) has(name string) bool {
	for _, m := range o {
		if m.name == name {
			return true
		}
	}
	return false
}

// schemaWriter writes schemas of shapes, and collects those of mappings.
type schemaWriter struct{ definitions object }

// fields returns what a mapping with these rows is held to.
func (c *schemaWriter) fields(m *mapping, rows []spec) object {
	properties, required := object{}, []string{}
	for _, s := range rows {
		if s.later != "" {
			continue
		}
		properties = append(properties, member{s.name, c.field(s)})
		if s.required {
			required = append(required, s.name)
		}
	}
	o := object{{"type", "object"}, {"properties", properties}, {"additionalProperties", false}}
	if len(required) > 0 {
		o = append(o, member{"required", required})
	}
	if len(m.forms) > 0 {
		o = append(o, formRules(m.forms)...)
	}
	if m.rules != nil {
		o = append(o, m.rules()...)
	}
	return o
}

// field returns the schema of a row's value.
func (c *schemaWriter) field(s spec) object {
	o := object{{"description", describe(s)}}
	o = append(o, c.shape(&s.is, s.inner)...)
	if s.fallback != "" && s.is.mapping == nil {
		o = append(o, member{"default", s.fallback})
	}
	return o
}

// describe says in sentences what a field means and what its values are.
func describe(s spec) string {
	lines := []string{meaning(s)}
	for _, v := range s.is.choices {
		lines = append(lines, v.value+": "+v.means+".")
	}
	if s.is.mapping == nil && len(s.is.choices) == 0 {
		lines = append(lines, sentence(s.is.String()))
	}
	if s.otherwise != "" {
		lines = append(lines, sentence("without it: "+s.otherwise))
	}
	return strings.Join(lines, "\n")
}

// shape returns the schema of a value; inner are the rows of a mapping in it.
func (c *schemaWriter) shape(s *shape, inner []spec) object {
	if s.or != nil {
		one := *s
		one.or = nil
		return object{{"anyOf", []object{c.shape(&one, inner), c.shape(s.or, inner)}}}
	}
	switch {
	case s.mapping != nil:
		return c.reference(s.mapping, inner)
	case s.entries != nil:
		o := object{{"type", "array"}, {"items", c.shape(s.entries, inner)}}
		if s.fewest > 0 {
			o = append(o, member{"minItems", s.fewest})
		}
		if s.largest > 0 {
			o = append(o, member{"maxItems", s.largest})
		}
		if s.unique {
			o = append(o, member{"uniqueItems", true})
		}
		return o
	case len(s.choices) > 0:
		return object{{"enum", s.allowed()}}
	case s.isTime():
		return object{{"type", "string"}, {"pattern", durationPattern}, {"minLength", 2}}
	}
	return wordSchema(s)
}

// reference returns a reference to the definition of a mapping, which it makes
// the first time.
func (c *schemaWriter) reference(m *mapping, rows []spec) object {
	if !c.definitions.has(m.name) {
		at := len(c.definitions)
		c.definitions = append(c.definitions, member{name: m.name}) // in the order of the file
		o := c.fields(m, rows)
		c.definitions[at].value = o
	}
	return object{{"$ref", "#/$defs/" + m.name}}
}

// wordSchema is of a single value. One that YAML takes for a number is meant by
// its text where that matches.
func wordSchema(s *shape) object {
	if s.pattern == nil {
		return object{{"type", []string{"string", "number", "boolean"}}}
	}
	number := ""
	switch {
	case s.pattern.MatchString("1.5"):
		number = "number"
	case s.pattern.MatchString("1"):
		number = "integer"
	}
	o := object{{"type", "string"}}
	if number != "" {
		o = object{{"type", []string{"string", number}}}
		for _, least := range []string{"-1", "0", "1"} {
			if s.pattern.MatchString(least) {
				if least != "-1" {
					o = append(o, member{"minimum", json.Number(least)})
				}
				break
			}
		}
	}
	o = append(o, member{"pattern", s.pattern.String()}) // nothing in it is another to ECMAScript
	if s.longest > 0 {
		o = append(o, member{"maxLength", s.longest})
	}
	return o
}

// formRules holds a mapping to exactly one of the forms.
func formRules(forms []form) object {
	var one []object
	for _, f := range forms {
		o := object{}
		if f.means != "" {
			o = append(o, member{"title", f.means})
		}
		one = append(one, append(o, member{"required", f.needs}, member{"propertyNames", object{{"enum", f.names()}}}))
	}
	return object{{"oneOf", one}}
}

// forgeRules are what the kind of a forge decides about the rest of its entry.
func forgeRules() object {
	var all []object
	for _, k := range usableKinds() {
		then := object{{"properties", kindProperties(k)}}
		if provision.TraitsOf(k).DefaultURL == "" {
			then = append(then, member{"required", []string{"url"}})
		}
		all = append(all, object{
			{"if", object{{"properties", object{{"kind", object{{"const", string(k)}}}}}, {"required", []string{"kind"}}}},
			{"then", then},
		})
	}
	return object{{"allOf", all}}
}

// kindProperties are what fields of an entry are held to for one kind.
func kindProperties(k provision.Kind) object {
	o := object{{"credential", formRules(formsOf(k))}}
	if !provision.TraitsOf(k).WriteAccess {
		access := object{{"access", object{{"const", string(provision.Read)}}}}
		o = append(o, member{"repositories", object{{"items", object{{"properties", access}}}}})
	}
	return o
}

// audienceRules want somebody who may use the keys.
func audienceRules() object {
	var somebody []object
	for _, name := range []string{"users", "groups"} {
		somebody = append(somebody, object{
			{"properties", object{{name, object{{"minItems", 1}}}}}, {"required", []string{name}},
		})
	}
	return object{{"anyOf", somebody}}
}
