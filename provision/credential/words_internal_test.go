package credential

import (
	"strconv"
	"strings"
	"testing"
	"unicode"
)

func TestShown(t *testing.T) {
	for _, c := range []struct{ words, secret, want string }{
		{"", theToken, ""},
		{" \n", theToken, ""},
		{"no", "", `"no"`},
		{"two\nlines\x1b[31m\u200b\xff", "", `"two\nlines\x1b[31m\u200b\xff"`},
		{"bad " + theToken + "!", theToken, `"bad [redacted]!"`},
		{"bad " + theToken + theToken, theToken + "\n", `"bad [redacted]"`},
		{"bad " + theToken[:12] + "…", theToken, `"bad [redacted]…"`},
		{"bad " + theToken[5:13], theToken, `"bad [redacted]"`},
		{"bad " + theToken[5:12], theToken, `"bad ` + theToken[5:12] + `"`},
		{"first line-one-1 and line-two-2", "line-one-1\nline-two-2", `"first [redacted] and [redacted]"`},
		{"the pin1 is", "pin1", `"the [redacted] is"`},
		{"the pin is", "pin", `"the pin is"`},
	} {
		if got := shown(c.words, c.secret); got != c.want {
			t.Errorf("%q without %q gives %s, want %s", c.words, c.secret, got, c.want)
		}
	}
	long := shown(strings.Repeat("é", 400))
	if !strings.HasSuffix(long, `é…"`) || len(long) > maxWords+len(`"…"`) {
		t.Errorf("long words give %s", long)
	}
}

// FuzzShown feeds what programs and forges may say.
func FuzzShown(f *testing.F) {
	f.Add("bad "+theToken, theToken)
	f.Add("two\nlines", "lines")
	f.Add(theToken[:10]+theToken[20:], theToken)
	f.Add("\xff\x00aaaaaaaaaaaaaaaaaaaa", "aaaaaaaa\naaaaaaaaa")
	f.Fuzz(func(t *testing.T, words, secret string) {
		got := shown(words, secret)
		if strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("%q is shown as %s", words, got)
		}
		plain, err := strconv.Unquote(got)
		if got != "" && err != nil {
			t.Fatal(err)
		}
		plain = strings.ReplaceAll(plain, redacted, "\n")
		for line := range strings.Lines(secret) {
			line = strings.TrimSpace(line)
			for i := 0; i+telling <= len(line); i++ {
				if strings.Contains(plain, line[i:i+telling]) {
					t.Errorf("%q without %q is shown as %s", words, secret, got)
				}
			}
		}
	})
}
