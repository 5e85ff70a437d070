package sshagent

import (
	"net/url"
	"strings"
)

// readURLs reads the arguments of a program that speaks SSH itself and was
// given the clone URL: "jgit clone ssh://git@host/owner/name.git". Of several
// URLs it takes what they have in common.
func readURLs(args []string) hint {
	var h hint
	found := false
	for _, a := range args {
		u, ok := cloneURL(a)
		switch {
		case !ok:
			continue
		case !found:
			h, found = u, true
			continue
		case !strings.EqualFold(u.host, h.host):
			return hint{}
		}
		if u.port != h.port {
			h.port = 0
		}
		if u.path != h.path {
			h.path = ""
		}
	}
	return h
}

// cloneURL reads an argument that is an SSH clone URL, or an option with one
// ("--url=git@host:owner/name.git"). An scp-like one must have a user: without
// it there are too many other things that look alike.
func cloneURL(arg string) (hint, bool) {
	if strings.HasPrefix(arg, "-") {
		_, arg, _ = strings.Cut(arg, "=")
	}
	if strings.ContainsFunc(arg, func(c rune) bool { return c <= ' ' || c > '~' }) {
		return hint{}, false
	}
	var h hint
	for _, scheme := range []string{"ssh://", "git+ssh://", "ssh+git://"} { // those that git takes
		rest, ok := strings.CutPrefix(arg, scheme)
		if !ok {
			continue
		}
		authority, p, _ := strings.Cut(rest, "/")
		if decoded, err := url.PathUnescape(p); err == nil { // as git does it (git: url.c)
			p = decoded
		}
		h.setDestination("ssh://" + authority)
		h.path = tidy(p)
		return h, h.host != "" && h.path != ""
	}
	return scpLikeURL(arg)
}

// scpLikeURL reads "user@host:path" and "user@[host]:path".
func scpLikeURL(arg string) (hint, bool) {
	user, rest, ok := strings.Cut(arg, "@")
	if !ok || user == "" || strings.ContainsAny(user, "/:") {
		return hint{}, false
	}
	separator := ":"
	if strings.HasPrefix(rest, "[") {
		rest, separator = rest[1:], "]:"
	}
	host, p, ok := strings.Cut(rest, separator)
	h := hint{host: host, path: tidy(p)}
	return h, ok && h.host != "" && !strings.Contains(host, "/") && h.path != ""
}
