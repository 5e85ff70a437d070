package forgesim

import (
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
)

// keyText is a public key as a client sends it.
type keyText struct {
	key     provision.PublicKey
	comment string
	text    string // trimmed
}

// keyTypes are the types that all three forges take as deploy keys.
func keyTypes() []string {
	return []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA,
	}
}

// errShortKey is a key whose length a forge does not accept.
type errShortKey struct{ got, want int }

func (e errShortKey) Error() string {
	return fmt.Sprintf("key length is not enough: got %d, needs %d", e.got, e.want)
}

// parseKeyText reads an OpenSSH line: no options in front, one line, RSA of at
// least minRSA bits.
func parseKeyText(sent string, minRSA int) (keyText, error) {
	text := strings.TrimSpace(sent)
	fields := strings.SplitN(text, " ", 3)
	if len(fields) < 2 || strings.ContainsAny(text, "\r\n") {
		return keyText{}, errors.New("invalid key format: not one line of a type and base64")
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil {
		return keyText{}, fmt.Errorf("invalid key format: %w", err)
	}
	key, err := provision.PublicKeyFromBlob(blob)
	if err != nil {
		return keyText{}, fmt.Errorf("invalid key format: %w", err)
	}
	if key.Type() != fields[0] || !slices.Contains(keyTypes(), fields[0]) {
		return keyText{}, fmt.Errorf("key type %q is not accepted", fields[0])
	}
	parsed, err := ssh.ParsePublicKey(blob)
	if err != nil {
		return keyText{}, fmt.Errorf("invalid key format: %w", err)
	}
	if c, ok := parsed.(ssh.CryptoPublicKey); ok {
		if k, ok := c.CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() < minRSA {
			return keyText{}, errShortKey{k.N.BitLen(), minRSA}
		}
	}
	k := keyText{key: key, text: text}
	if len(fields) == 3 {
		k.comment = strings.TrimSpace(fields[2])
	}
	return k, nil
}

// titleLimit is the longest title or label in bytes: what every database behind
// a forge keeps.
const titleLimit = 255
