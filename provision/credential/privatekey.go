package credential

import (
	"bytes"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
)

const (
	// maxPEM is the longest private key file that is taken for one, in bytes: one
	// of maxBits has 6.5 KB.
	maxPEM = 16 << 10
	// The sizes of RSA keys that are used. GitHub makes them with 2048 bits.
	minBits, maxBits = 2048, 8192
)

// The faults of a private key's text. None of them quotes it.
var (
	errNoPEM     = errors.New("it has no private key in PEM form: put the .pem file that the forge gave into it, unchanged")
	errMorePEM   = errors.New("it has something after the private key: put the one key into it, alone")
	errEncrypted = errors.New("its private key is encrypted: put the .pem file that the forge gave into it, unchanged")
	errNotRSA    = errors.New("its private key is not an RSA key: put the .pem file that the forge gave into it, unchanged")
)

// parsePrivateKey reads an RSA private key in PEM form, as PKCS #1 or PKCS #8. It
// wipes what it decodes; the key itself is made of numbers that Go has copied, and
// lasts until its memory is used anew.
func parsePrivateKey(text []byte) (*rsa.PrivateKey, error) {
	if len(text) > maxPEM {
		return nil, errNoPEM
	}
	block, rest := pem.Decode(text)
	if block == nil {
		return nil, errNoPEM
	}
	defer clear(block.Bytes)
	if len(bytes.TrimSpace(rest)) > 0 {
		return nil, errMorePEM
	}
	if block.Type == "ENCRYPTED PRIVATE KEY" || block.Headers["DEK-Info"] != "" {
		return nil, errEncrypted
	}
	var key *rsa.PrivateKey
	switch block.Type {
	case "RSA PRIVATE KEY":
		key, _ = x509.ParsePKCS1PrivateKey(block.Bytes) // its errors may quote numbers of the key
	case "PRIVATE KEY":
		parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
		if err != nil {
			return nil, errNoPEM
		}
		if key, _ = parsed.(*rsa.PrivateKey); key == nil {
			return nil, errNotRSA
		}
	default:
		return nil, errNotRSA
	}
	if key == nil {
		return nil, errNoPEM
	}
	if bits := key.N.BitLen(); bits < minBits || bits > maxBits {
		return nil, fmt.Errorf("its RSA key has %d bits, not between %d and %d: make a new private key in the App's settings", bits, minBits, maxBits)
	}
	return key, nil
}
