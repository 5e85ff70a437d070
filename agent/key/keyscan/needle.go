package keyscan

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"io"
	"log/slog"
	"strings"
)

// Format hides the key, whatever the verb.
func (*Secret) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, "[redacted]") }

// LogValue hides the key.
func (*Secret) LogValue() slog.Value { return slog.StringValue("[redacted]") }

// MarshalText hides the key, and with it MarshalJSON's default does.
func (*Secret) MarshalText() ([]byte, error) { return []byte("[redacted]"), nil }

// Raw returns the private bytes as they are. Like Base64 and Hex it is a form
// to plant, to prove that a search finds it.
func (s *Secret) Raw() []byte { return bytes.Clone(s.private) }

// Base64 returns the private bytes as they look inside a longer base64 text, at
// an offset that is no multiple of three.
func (s *Secret) Base64() []byte {
	return []byte(base64.StdEncoding.EncodeToString(append([]byte("x"), s.private...)))
}

// Hex returns the first half of the private bytes in hex.
func (s *Secret) Hex() []byte { return []byte(hex.EncodeToString(s.private[:len(s.private)/2])) }

// needles returns every form of either half: whoever has the whole has a half.
func (s *Secret) needles() [][]byte {
	half := len(s.private) / 2
	var list [][]byte
	for _, part := range [][]byte{s.private[:half], s.private[half:]} {
		lower := hex.EncodeToString(part)
		list = append(list, part, []byte(lower), []byte(strings.ToUpper(lower)))
		for shift := range 3 {
			list = append(list,
				base64Inside(base64.StdEncoding, part, shift), base64Inside(base64.URLEncoding, part, shift))
		}
	}
	return list
}

// base64Inside returns the characters that part alone decides when it stands
// shift bytes after a multiple of three in a longer text.
func base64Inside(enc *base64.Encoding, part []byte, shift int) []byte {
	text := enc.EncodeToString(append(make([]byte, shift), part...))
	first := (8*shift + 5) / 6
	last := 8 * (shift + len(part)) / 6
	return []byte(text[first:last])
}
