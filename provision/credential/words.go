package credential

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

const (
	// maxWords is how much of a program's or forge's words an error holds, in
	// bytes.
	maxWords = 300
	// telling is how long a part of a secret must be to give something away, in
	// bytes. A shorter text is hidden only whole, and below shortest not at all.
	telling  = 8
	shortest = 4
)

// shown quotes words that came from outside as one line of printable
// characters, without any telling part of the secrets, cut where it is long. No
// words give "".
func shown(words string, secrets ...string) string {
	words = strings.TrimSpace(Hide(words, secrets...))
	if words == "" {
		return ""
	}
	if len(words) > maxWords {
		end := maxWords
		for end > 0 && !utf8.RuneStart(words[end]) {
			end--
		}
		words = words[:end] + "…"
	}
	return strconv.Quote(words)
}

// Hide returns words with "[redacted]" in the place of each run of eight bytes or
// more that is part of a line of the secrets, and of each whole line of four bytes
// or more. Shorter texts are no secrets, and would take parts out of any words.
func Hide(words string, secrets ...string) string {
	parts := map[string]bool{}
	for _, secret := range secrets {
		for text := range strings.Lines(secret) {
			text = strings.TrimSpace(text)
			if len(text) >= shortest && len(text) < telling {
				words = strings.ReplaceAll(words, text, redacted)
			}
			for i := 0; i+telling <= len(text); i++ {
				parts[text[i:i+telling]] = true
			}
		}
	}
	var b strings.Builder
	for i := 0; i < len(words); {
		end := i
		for at := i; at <= end && at+telling <= len(words); at++ {
			if parts[words[at:at+telling]] {
				end = at + telling
			}
		}
		if end > i {
			b.WriteString(redacted)
			i = end
			continue
		}
		b.WriteByte(words[i])
		i++
	}
	return b.String()
}
