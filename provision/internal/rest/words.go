package rest

import (
	"bytes"
	"encoding/json"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"

	"deploykeyd/provision/credential"
)

const (
	// maxWords is how much of a forge's words a message holds, in bytes.
	maxWords = 200
	// maxOwnWords is how much a message holds of what other parts of deploykeyd
	// say, in bytes, which may quote a program's words.
	maxOwnWords = 800
)

// htmlInstead is said of a page that was made for people.
const htmlInstead = "an HTML page instead of JSON"

// forms lists the texts in which a credential could come back: itself, what
// the Authorization header held, and both as URLs and JSON write them.
func forms(secret credential.Secret, authorization string) []string {
	plain := []string{secret.Reveal()}
	if i := strings.LastIndexByte(authorization, ' '); i >= 0 && authorization[i+1:] != secret.Reveal() {
		plain = append(plain, authorization[i+1:])
	}
	var all []string
	for _, s := range plain {
		all = append(all, s, url.QueryEscape(s), url.PathEscape(s))
		if quoted, err := json.Marshal(s); err == nil {
			all = append(all, strings.Trim(string(quoted), `"`))
		}
	}
	return all
}

// say makes words that came from outside fit for a message: one line without
// control characters or any telling part of the credential, cut where it is long.
func (x *exchange) say(words string) string { return say(words, x.hidden) }

func say(words string, hidden []string) string {
	return cut(credential.Hide(printable(words), hidden...), maxWords)
}

// oneLine is say for words that cannot hold the credential.
func oneLine(words string) string { return cut(printable(words), maxWords) }

// ownWords is oneLine for what another part of deploykeyd says.
func ownWords(words string) string { return cut(printable(words), maxOwnWords) }

// printable returns words as one line of printable characters.
func printable(words string) string {
	words = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r) || unicode.IsControl(r):
			return ' '
		case !unicode.IsPrint(r):
			return -1 // among them the marks that turn the direction of writing
		}
		return r
	}, strings.ToValidUTF8(words, " "))
	return strings.Join(strings.Fields(words), " ")
}

// cut ends a line that is too long.
func cut(line string, limit int) string {
	if len(line) <= limit {
		return line
	}
	const more = "…"
	end := limit - len(more)
	for end > 0 && !utf8.RuneStart(line[end]) {
		end--
	}
	return strings.TrimRight(line[:end], " ") + more
}

// mediaType returns the reply's media type without parameters, in lower case.
func (r Reply) mediaType() string {
	t, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	return t
}

// isForges reports whether the reply is one that the forge itself makes and not
// something in between, such as a proxy with a login page. A server error may
// have any maker.
func (r Reply) isForges() bool {
	return (r.Status < 300 || r.Status >= 400 && r.Status < 500) && r.isJSON() && json.Valid(r.Body)
}

// isJSON reports whether the reply says that it is JSON.
func (r Reply) isJSON() bool {
	t := r.mediaType()
	return t == "application/json" || strings.HasSuffix(t, "+json")
}

// isHTML reports whether the reply is a page for people.
func (r Reply) isHTML() bool {
	return strings.Contains(r.mediaType(), "html") || strings.HasPrefix(strings.TrimSpace(string(r.Body[:min(len(r.Body), 64)])), "<")
}

// JSON decodes the body into v and reports whether it could.
func (r Reply) JSON(v any) bool { return r.isJSON() && json.Unmarshal(r.Body, v) == nil }

// words returns what a reply without a message of the forge's dialect says.
func (r Reply) words() string {
	switch {
	case r.isHTML():
		return htmlInstead
	case r.mediaType() == "text/plain" && len(bytes.TrimSpace(r.Body)) > 0:
		return string(r.Body)
	case http.StatusText(r.Status) != "":
		return http.StatusText(r.Status)
	}
	return "no reason given"
}
