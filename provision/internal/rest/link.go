package rest

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
)

var (
	errBadLink   = errors.New("the forge's Link header cannot be read")
	errElsewhere = errors.New("the forge's next page is not below the API's root")
)

// NextLink returns the target of rel="next" in a reply's Link headers (RFC
// 8288), empty when there is none. A header that cannot be read is an error: a
// list that ends early would be believed.
func NextLink(h http.Header) (string, error) {
	rest := strings.TrimSpace(strings.Join(h.Values("Link"), ","))
	for rest != "" {
		target, after, ok := strings.Cut(strings.TrimPrefix(rest, "<"), ">")
		if !ok || rest[0] != '<' {
			return "", errBadLink
		}
		parameters, following, err := cutParameters(after)
		if err != nil {
			return "", err
		}
		if isNext(parameters) {
			return target, nil
		}
		rest = following
	}
	return "", nil
}

// cutParameters splits what follows a link's target at the comma that ends it.
func cutParameters(s string) (parameters []string, rest string, err error) {
	quoted, begin := false, 0
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] == '"':
			quoted = !quoted
		case quoted && s[i] == '\\':
			i++
		case !quoted && (s[i] == ';' || s[i] == ','):
			parameters = append(parameters, strings.TrimSpace(s[begin:i]))
			begin = i + 1
			if s[i] == ',' {
				return parameters, strings.TrimLeft(s[begin:], " \t,"), nil
			}
		}
	}
	if quoted {
		return nil, "", errBadLink
	}
	return append(parameters, strings.TrimSpace(s[begin:])), "", nil
}

// isNext reports whether the parameters have the relation "next".
func isNext(parameters []string) bool {
	for _, p := range parameters {
		name, value, _ := strings.Cut(p, "=")
		if !strings.EqualFold(strings.TrimSpace(name), "rel") {
			continue
		}
		for relation := range strings.FieldsSeq(strings.Trim(strings.TrimSpace(value), `"`)) {
			if strings.EqualFold(relation, "next") {
				return true
			}
		}
	}
	return false
}

// below returns the path and query of a URL that a forge gave, relative to the
// API's root. Anything else would carry the credential to another place.
func (c *Client) below(text string) (string, error) {
	u, err := url.Parse(text)
	if err != nil {
		return "", errElsewhere
	}
	u = c.root.ResolveReference(u)
	path, ok := strings.CutPrefix(u.EscapedPath(), c.root.EscapedPath())
	if !ok || u.Scheme != c.root.Scheme || !strings.EqualFold(u.Host, c.root.Host) || u.User != nil || !strings.HasPrefix(path, "/") {
		return "", errElsewhere
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return "", errElsewhere
		}
	}
	if u.RawQuery != "" {
		path += "?" + u.RawQuery
	}
	return path, nil
}
