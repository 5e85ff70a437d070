package sshagent

import (
	"path"
	"slices"
	"strings"
)

// client is how an SSH client reads its arguments.
type client struct {
	letters string   // options of one letter that take a value
	words   []string // the same where every option is a whole word
	port    string   // the option that gives the port
	last    bool     // of several ports the last counts; else the first
	hops    bool     // the destination is Dropbear's "host[^port]", or several with commas
}

// clientNamed returns the client that a program's name or path names.
//
// The options are those of ssh(1), with -P of OpenSSH 9.4; dbclient(1), whose
// list holds for Dropbear's other name ssh but for -K; and plink(1), with the
// options that the PuTTY manual has beyond it (3.11.3).
func clientNamed(program string) (client, bool) {
	if strings.ContainsRune(program, ':') { // a URL, or a title
		return client{}, false
	}
	switch strings.TrimSuffix(strings.ToLower(path.Base(program)), ".exe") {
	case "ssh":
		return client{letters: "BbcDEeFIiJLlmOoPpQRSWw", port: "p"}, true
	case "dbclient":
		return client{letters: "BbcIiJKLlmopRW", port: "p", last: true, hops: true}, true
	case "plink", "tortoiseplink":
		return client{words: plinkValueOptions(), port: "-P", last: true}, true
	}
	return client{}, false
}

func plinkValueOptions() []string {
	return []string{
		"-D", "-L", "-P", "-R", "-cert", "-hostkey", "-i", "-l", "-load", "-loghost", "-m", "-nc",
		"-proxycmd", "-pw", "-pwfile", "-sercfg", "-sessionlog", "-sshlog", "-sshrawlog",
	}
}

// read reads the arguments after the program's name: options may stand on both
// sides of the destination, and what follows is one command however many words
// it has. "ssh -W host:port jump", which ssh runs to reach a host through
// another one, has no command: its destination is the jump host.
func (c client) read(args []string) hint {
	var h hint
	destination, ended := false, false
	for i := 0; i < len(args); i++ {
		a := args[i]
		switch {
		case !ended && a == "--":
			ended = true
		case !ended && len(a) > 1 && a[0] == '-':
			option, value, separate := c.option(a)
			if separate && i+1 < len(args) {
				i++
				value = args[i]
			}
			if option == c.port && (c.last || h.port == 0) {
				h.port = parsePort(value)
			}
		case !destination:
			c.setDestination(&h, a)
			destination = true
		default:
			p, _ := gitPath(strings.Join(args[i:], " "))
			h.path = tidy(p)
			return h
		}
	}
	return h
}

// option returns the option in an argument that takes a value, with the value
// when it is in the same argument (as in "-4Tp22") and else whether it is the
// next one.
func (c client) option(a string) (option, value string, separate bool) {
	if c.words != nil {
		return a, "", slices.Contains(c.words, a)
	}
	for i := 1; i < len(a); i++ {
		if strings.IndexByte(c.letters, a[i]) >= 0 {
			return a[i : i+1], a[i+1:], i+1 == len(a)
		}
	}
	return "", "", false
}

// setDestination reads the destination of a connection. The last one of several
// hops is where the client logs in itself; it runs others for those before.
func (c client) setDestination(h *hint, s string) {
	if !c.hops {
		h.setDestination(s)
		return
	}
	s = s[strings.LastIndexByte(s, ',')+1:]
	if i := strings.IndexAny(s, "^/"); i >= 0 {
		h.port = parsePort(s[i+1:])
		s = s[:i]
	}
	h.setDestination(s)
}
