package credential

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
)

// theToken is the token of the internal tests.
const theToken = "gtb_9f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c"

// formsOf caches what forms returns.
var formsOf sync.Map

// forms lists how a part of a secret could be shown: at least eight bytes of it,
// as they are, in hexadecimal (as one number of either byte order too, or as a
// traceback's list of bytes), or in base64.
func forms(secret string) []string {
	if known, ok := formsOf.Load(secret); ok {
		return known.([]string)
	}
	var all []string
	for i := 0; i+8 <= len(secret); i++ {
		part := []byte(secret[i : i+8])
		list := make([]string, len(part))
		for n, b := range part {
			list[n] = fmt.Sprintf("0x%x", b)
		}
		all = append(all, string(part), hex.EncodeToString(part), strings.ToUpper(hex.EncodeToString(part)),
			fmt.Sprintf("0x%x", binary.LittleEndian.Uint64(part)), fmt.Sprintf("0x%x", binary.BigEndian.Uint64(part)),
			strings.Join(list, ", "))
	}
	for shift := range 3 {
		coded := base64.RawStdEncoding.EncodeToString([]byte(secret[min(shift, len(secret)):]))
		for i := 0; i+12 <= len(coded)-4; i++ {
			all = append(all, coded[i:i+12])
		}
	}
	formsOf.Store(secret, all)
	return all
}

// leaks returns the first form of a part of a secret that a text has.
func leaks(text, secret string) string {
	text = strings.ReplaceAll(text, "?", "") // a traceback marks what may be stale
	for _, form := range forms(secret) {
		if strings.Contains(text, form) {
			return form
		}
	}
	return ""
}

// hidden checks that no telling part of the secrets is in a text.
func hidden(t *testing.T, where, text string, secrets ...string) {
	t.Helper()
	for _, secret := range secrets {
		for line := range strings.Lines(secret) {
			if form := leaks(text, strings.TrimSpace(line)); form != "" {
				t.Errorf("%s leaks %q:\n%s", where, form, text)
				return
			}
		}
	}
}

func TestLeaksAreFound(t *testing.T) {
	secret := []byte(theToken)
	word := binary.LittleEndian.Uint64(secret[8:])
	for _, text := range []string{
		"x" + theToken[5:13] + "x", hex.EncodeToString(secret[3:11]), strings.ToUpper(hex.EncodeToString(secret[3:11])),
		fmt.Sprintf("f(0x%x?, 0x1)", word), "f({0x37, 0x64?, 0x36, 0x63, 0x35, 0x62, 0x34, 0x61, ...})",
		base64.StdEncoding.EncodeToString(secret), base64.StdEncoding.EncodeToString([]byte("ci:" + theToken)),
	} {
		if leaks(text, theToken) == "" {
			t.Errorf("not found in %s", text)
		}
	}
	if form := leaks("f({0xc000012345, 0x2c, 0x40}) "+theToken[:7], theToken); form != "" {
		t.Errorf("%q was found in nothing", form)
	}
}
