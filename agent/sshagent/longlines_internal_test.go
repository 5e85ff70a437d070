package sshagent

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"testing"

	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
)

// maxLine is what no audit line is longer than, in bytes, whatever a client does
// and in whichever form: six texts of the client's about itself and what it wants,
// one that a reason quotes, and what is ours.
const maxLine = 4 << 10

// fillers are what a client may fill a text with: some of it takes several times
// its length once it is quoted.
func fillers() []string {
	return []string{"a", `\`, `"`, "'", "\x00", "\x1b", "\xff", "\u202e", "\U000e0001", " "}
}

// longSession is a session of a client that says as much as it can about itself.
func longSession(t *testing.T, log slog.Handler, filler string, argv ...string) (*session, []byte) {
	t.Helper()
	s, k := newSession(t, io.Discard, argv...)
	long := strings.Repeat(filler, 4096/len(filler))
	s.audit = &audit{logger: slog.New(log)}
	s.caller.facts = unixsock.Process{Exe: long, Comm: long, Cgroup: long}
	s.caller.Proven = false
	s.caller.UID, s.caller.GID, s.caller.PID = 1<<32-2, 1<<32-2, 1<<31-1
	hub := &Forge{Name: "hub", Kind: provision.GitLab, SSH: provision.SSHAddress{User: "git", Host: "gitlab.test", Port: 22}}
	s.forges = append(s.forges, hub)
	for _, repo := range []provision.Repository{"acme/api", "acme/web"} {
		_, another := newSession(t, io.Discard)
		if err := s.audience.ring.Publish(hub, repo, another); err != nil {
			t.Fatal(err)
		}
	}
	return s, k.Public()
}

// everyRequest are requests that are refused with what the client said in them.
func everyRequest(public []byte, long string) [][]byte {
	sign := func(user, service, method, algorithm string) []byte {
		data := append(appendString(nil, thirtyTwo), msgUserauthRequest)
		data = append(appendString(appendString(appendString(data, user), service), method), 1)
		data = appendString(appendString(data, algorithm), public)
		return append(appendString(appendString([]byte{msgSignRequest}, public), data), 0, 0, 0, 0)
	}
	const ed = "ssh-ed25519"
	return [][]byte{
		{msgRequestIdentities},
		sign(long, serviceConnection, methodPublicKey, ed),
		sign("git", long, methodPublicKey, ed),
		sign("git", serviceConnection, long, ed),
		sign("git", serviceConnection, methodPublicKey, long),
		sign("git", serviceConnection, methodPublicKey, ed), // is not refused
		appendString([]byte{msgExtension}, long),
		appendString(appendString([]byte{msgExtension}, extSessionBind), long),
		{99},
	}
}

// longestLine has everything refused to a client with that command line, and
// returns the longest line of the log.
func longestLine(t *testing.T, filler string, argv ...string) (longest []byte) {
	t.Helper()
	long := strings.Repeat(filler, 20_000/len(filler))
	var log bytes.Buffer
	for _, handler := range []slog.Handler{slog.NewJSONHandler(&log, nil), slog.NewTextHandler(&log, nil)} {
		s, public := longSession(t, handler, filler, argv...)
		for _, m := range everyRequest(public, long) {
			s.answer(t.Context(), m)
			s.binding = binding{}
		}
		s.refused(t.Context(), event{action: "list", forge: long, repository: long}, errTooOld)
	}
	for line := range bytes.Lines(log.Bytes()) {
		if len(line) > len(longest) {
			longest = line
		}
	}
	return longest
}

func TestNoAuditLineIsLong(t *testing.T) {
	longest := 0
	for _, filler := range fillers() {
		for _, n := range []int{10, 255, 512, 60_000} {
			part := strings.Repeat(filler, n/len(filler))
			for _, argv := range [][]string{
				{"ssh", "git@" + part, "git-upload-pack 'acme/api.git'"},
				{"ssh", "git@gitlab.test", "git-upload-pack " + sqQuote("acme/"+part)},
				{"ssh", "git@gitlab.test", "git-upload-pack " + sqQuote(part)},
				{"wrap", "ssh://git@gitlab.test/acme/" + part},
			} {
				line := longestLine(t, filler, argv...)
				if len(line) > maxLine {
					t.Errorf("a line of %d bytes: %.1000s", len(line), line)
				}
				longest = max(longest, len(line))
			}
		}
	}
	if longest < maxLine/2 {
		t.Errorf("the longest line has %d bytes: nothing was long", longest)
	}
}

func TestHintsAreShort(t *testing.T) {
	name := func(n int) string { return strings.Repeat("n", n) }
	checkHints(t, map[string]hintCase{
		"longest path":    {argv("ssh", "git@git.test", "git-upload-pack "+name(512)), hint{host: "git.test", path: name(512)}},
		"longer path":     {argv("ssh", "git@git.test", "git-upload-pack "+name(513)), hint{}},
		"longest host":    {argv("ssh", "git@"+name(255), uploadPack), hint{host: name(255), path: "acme/api.git"}},
		"longer host":     {argv("ssh", "git@"+name(256), uploadPack), hint{}},
		"wrapper":         {argv("wrap", "git@git.test", "git-upload-pack "+name(513)), hint{}},
		"wrapper, host":   {argv("wrap", name(256), uploadPack), hint{}},
		"url":             {argv("wrap", "ssh://git@git.test/"+name(513)), hint{}},
		"url, host":       {argv("wrap", "ssh://git@"+name(256)+"/acme/api.git"), hint{}},
		"url like of scp": {argv("wrap", "git@git.test:"+name(60_000)), hint{}},
		"plink":           {argv("plink", "git@git.test", "git-upload-pack "+name(60_000)), hint{}},
	})
}
