package provision

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
)

// maxPublicKey bounds the wire form of a public key; RSA with 16,384 bits
// needs about 2 KiB.
const maxPublicKey = 8 << 10

// PublicKey is an SSH public key in its wire form (RFC 4253, section 6.6),
// without a comment. It is comparable with ==; the zero value is no key.
type PublicKey struct{ blob string }

// PublicKeyFromBlob returns the key whose wire form is blob.
func PublicKeyFromBlob(blob []byte) (PublicKey, error) {
	if len(blob) > maxPublicKey {
		return PublicKey{}, fmt.Errorf("public key has %d bytes, at most %d are allowed", len(blob), maxPublicKey)
	}
	k := PublicKey{blob: string(blob)}
	if k.Type() == "" {
		return PublicKey{}, errors.New("public key is not in SSH wire form")
	}
	return k, nil
}

// ParsePublicKey reads one line of OpenSSH's public key format: a type, the
// base64 of the wire form and, ignored, a comment. Options in front are refused.
func ParsePublicKey(line string) (PublicKey, error) {
	if len(line) > 2*maxPublicKey {
		return PublicKey{}, errors.New("public key line is too long")
	}
	fields := strings.Fields(line)
	if len(fields) < 2 || strings.ContainsAny(strings.TrimSpace(line), "\r\n") {
		return PublicKey{}, errors.New("public key is not one line of a type and base64")
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil {
		return PublicKey{}, errors.New("public key is not valid base64")
	}
	k, err := PublicKeyFromBlob(blob)
	if err != nil {
		return PublicKey{}, err
	}
	if k.Type() != fields[0] {
		return PublicKey{}, fmt.Errorf("public key says %q outside and %q inside", fields[0], k.Type())
	}
	return k, nil
}

// IsZero reports whether k is no key.
func (k PublicKey) IsZero() bool { return k.blob == "" }

// Blob returns a copy of the wire form.
func (k PublicKey) Blob() []byte { return []byte(k.blob) }

// Type returns the key's algorithm name, such as "ssh-ed25519".
func (k PublicKey) Type() string {
	if len(k.blob) < 4 {
		return ""
	}
	n := uint64(binary.BigEndian.Uint32([]byte(k.blob[:4])))
	if n == 0 || n > 64 || uint64(len(k.blob)) <= 4+n {
		return ""
	}
	name := k.blob[4 : 4+n]
	for _, c := range []byte(name) {
		if c <= ' ' || c > '~' {
			return ""
		}
	}
	return name
}

// String returns the line that forges are given: type and base64, no comment.
func (k PublicKey) String() string {
	if k.IsZero() {
		return ""
	}
	return k.Type() + " " + base64.StdEncoding.EncodeToString([]byte(k.blob))
}

// Fingerprint returns OpenSSH's form of the SHA-256 of the wire form,
// "SHA256:" and unpadded base64.
func (k PublicKey) Fingerprint() string {
	sum := sha256.Sum256([]byte(k.blob))
	return "SHA256:" + base64.RawStdEncoding.EncodeToString(sum[:])
}

// TagHash returns the first 16 hex digits of the SHA-256 of the wire form: the
// form in which an OwnerTag names a key.
func (k PublicKey) TagHash() string {
	sum := sha256.Sum256([]byte(k.blob))
	return hex.EncodeToString(sum[:8])
}

// MarshalText writes the line of String.
func (k PublicKey) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// UnmarshalText reads what MarshalText wrote.
func (k *PublicKey) UnmarshalText(text []byte) error {
	if len(text) == 0 {
		*k = PublicKey{}
		return nil
	}
	parsed, err := ParsePublicKey(string(text))
	if err != nil {
		return err
	}
	*k = parsed
	return nil
}
