package rest

import (
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"deploykeyd/provision/credential"
)

func FuzzSay(f *testing.F) {
	for _, s := range []string{"", "plain", "two\nlines", "\x00\x1b[31m", "tok\u200ben-0123456789", "token-0123456789", "\xff\xfe", strings.Repeat("é", 150)} {
		f.Add(s)
	}
	const secret = "token-0123456789"
	x := &exchange{hidden: forms(credential.NewSecret(secret), "Bearer "+secret)}
	f.Fuzz(func(t *testing.T, words string) {
		said := x.say(words)
		if len(said) > maxWords || !utf8.ValidString(said) || strings.Contains(said, secret) ||
			strings.ContainsFunc(said, func(r rune) bool { return unicode.IsControl(r) || !unicode.IsPrint(r) }) {
			t.Errorf("%q becomes %q", words, said)
		}
	})
}
