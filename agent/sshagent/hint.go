package sshagent

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// hint is what a client's command line says about where it connects to and
// which repository it wants. It is the client's own claim and chooses only
// which public key is shown.
type hint struct {
	host string // empty when the command line does not say
	port int    // 0 when it does not say
	path string // the repository's path, as tidy leaves it; empty when it does not say
}

// The longest host and path that a hint has, in bytes. A host name has no more
// (RFC 1035); no forge has repositories whose path is so long.
const (
	maxHost = 255
	maxPath = 512
)

// readHint reads a process's arguments, the program's name first. A hint whose
// host or path is too long is none. See readArguments.
func readHint(argv []string) hint {
	h := readArguments(argv)
	if len(h.host) > maxHost || len(h.path) > maxPath {
		return hint{}
	}
	return h
}

// readArguments reads a process's arguments, the program's name first. It makes of
// them, in this order:
//
//   - what a known SSH client makes of them, when the program is one or what
//     runs it (an interpreter, a loader, a binary of many names) has its name
//     as first argument;
//   - host and git's command at the end, where git puts them for every program
//     that it is told to use in place of ssh (git: connect.c);
//   - the clone URL among them, for a program that speaks SSH itself.
//
// The title that OpenSSH's multiplexing master gives itself ("ssh: /path
// [mux]"), and any other that a program writes over its arguments, is one
// argument and says nothing.
func readArguments(argv []string) hint {
	for i, a := range argv[:min(len(argv), 2)] {
		if c, ok := clientNamed(a); ok {
			return c.read(argv[i+1:])
		}
	}
	if len(argv) < 2 {
		return hint{}
	}
	if h, ok := readEnd(argv[1:]); ok {
		return h
	}
	return readURLs(argv[1:])
}

// readEnd reads arguments that end with a git command and, when it looks like
// one, the host before that.
func readEnd(args []string) (hint, bool) {
	before := args[:len(args)-1]
	p, ok := gitPath(args[len(before)])
	if !ok {
		return hint{}, false
	}
	h := hint{path: tidy(p)}
	for i, a := range before {
		if (a == "-p" || a == "-P") && i+1 < len(before) {
			h.port = parsePort(before[i+1]) // git's own port comes last
		}
	}
	if n := len(before); n > 0 && looksLikeDestination(before[n-1]) {
		h.setDestination(before[n-1])
	}
	return h, true
}

// looksLikeDestination tells "[user@]host" from the other things that may stand
// before a command: an option, its value, a script's name.
func looksLikeDestination(s string) bool {
	host := s[strings.LastIndexByte(s, '@')+1:]
	return host != "" && host[0] != '-' && parsePort(host) == 0 && !strings.ContainsFunc(host, func(c rune) bool {
		return c <= ' ' || c > '~' || strings.ContainsRune(`/\=,;"'`, c)
	})
}

// setDestination reads "[user@]host" or "ssh://[user@]host[:port][/]".
func (h *hint) setDestination(s string) {
	s, isURL := strings.CutPrefix(s, "ssh://")
	if isURL {
		s, _, _ = strings.Cut(s, "/")
	}
	s = s[strings.LastIndexByte(s, '@')+1:]
	if isURL {
		if i := strings.LastIndexByte(s, ':'); i > strings.LastIndexByte(s, ']') {
			if h.port == 0 { // a port that an option has set before wins
				h.port = parsePort(s[i+1:])
			}
			s = s[:i]
		}
	}
	h.host = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
}

// parsePort returns 0 for what is no port.
func parsePort(s string) int {
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0
	}
	return int(n)
}

// gitServices are the programs that a git client asks a forge to run.
func gitServices() []string {
	return []string{"git-upload-pack", "git-receive-pack", "git-upload-archive", "git-lfs-authenticate", "git-lfs-transfer"}
}

// gitPath returns the repository's path in a command for a forge, such as
// "git-upload-pack '/owner/name.git'", as it was before quoting. Git quotes it
// (git: quote.c, sq_quote_buf); git-lfs does not.
func gitPath(command string) (string, bool) {
	words, ok := shellWords(command)
	if !ok || len(words) < 2 {
		return "", false
	}
	service, words := path.Base(words[0]), words[1:]
	if service == "git" {
		service, words = "git-"+words[0], words[1:]
	}
	if !slices.Contains(gitServices(), service) {
		return "", false
	}
	i := slices.IndexFunc(words, func(w string) bool { return !strings.HasPrefix(w, "-") })
	if i < 0 {
		return "", false
	}
	return words[i], true
}

// tidy takes from a path what people and programs write around and between the
// parts of a repository's name: slashes too many, and the login user's home,
// which git sends as "~/" and git-lfs as "/~/". A forge may refuse such a path
// all the same: that is the forge's to say, with the repository's key at hand.
func tidy(p string) string {
	parts := strings.FieldsFunc(p, func(c rune) bool { return c == '/' })
	if len(parts) > 0 && parts[0] == "~" {
		parts = parts[1:]
	}
	return strings.Join(parts, "/")
}
