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
	path string // the repository's path as git wrote it; empty when it does not say
}

// sshValueOptions are the options of ssh(1) that take a value.
const sshValueOptions = "BbcDEeFIiJLlmOoPpQRSWw"

// readHint reads a process's arguments, the program's name first. Git starts
// ssh as "ssh [-p port] [user@]host command" (git: connect.c), and every other
// program that it can be told to use with the same end.
func readHint(argv []string) hint {
	if len(argv) < 2 {
		return hint{}
	}
	if program := path.Base(argv[0]); program == "ssh" {
		return readSSH(argv[1:])
	}
	last := len(argv) - 1
	p, ok := gitPath(argv[last])
	if !ok {
		return hint{}
	}
	h := hint{path: p}
	if last >= 2 && !strings.HasPrefix(argv[last-1], "-") {
		h.setDestination(argv[last-1])
	}
	for i, a := range argv[:last] {
		if a == "-p" || a == "-P" {
			h.setPort(argv[i+1])
		}
	}
	return h
}

// readSSH reads arguments as ssh(1) does: options may stand on both sides of
// the destination, and what follows is one command however many words it has.
func readSSH(args []string) hint {
	var h hint
	destination, ended := false, false
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case !ended && a == "--":
			ended = true
		case !ended && len(a) > 1 && a[0] == '-':
			option, value := sshOption(a)
			if option != 0 && value == "" && i+1 < len(args) {
				i++
				value = args[i]
			}
			if option == 'p' {
				h.setPort(value)
			}
		case !destination:
			h.setDestination(a)
			destination = true
		default:
			h.path, _ = gitPath(strings.Join(args[i:], " "))
			return h
		}
	}
	return h
}

// sshOption returns the option in a cluster such as "-4Tp22" that takes a
// value, with the value if it is in the same argument, and 0 when none does.
func sshOption(cluster string) (option byte, value string) {
	for i := 1; i < len(cluster); i++ {
		if strings.IndexByte(sshValueOptions, cluster[i]) >= 0 {
			return cluster[i], cluster[i+1:]
		}
	}
	return 0, ""
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
			h.setPort(s[i+1:])
			s = s[:i]
		}
	}
	h.host = strings.TrimSuffix(strings.TrimPrefix(s, "["), "]")
}

func (h *hint) setPort(s string) {
	if n, err := strconv.ParseUint(s, 10, 16); err == nil {
		h.port = int(n)
	}
}

// gitServices are the programs that a git client asks a forge to run.
func gitServices() []string {
	return []string{"git-upload-pack", "git-receive-pack", "git-upload-archive", "git-lfs-authenticate", "git-lfs-transfer"}
}

// gitPath returns the repository's path in a command for a forge, such as
// "git-upload-pack '/owner/name.git'", as it was before quoting.
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
	p := strings.TrimPrefix(words[i], "/")
	p = strings.TrimPrefix(p, "~/")
	return p, p != ""
}
