package hostkey

import (
	"crypto/rsa"

	"golang.org/x/crypto/ssh"
)

// rsaBits returns the length of an RSA key's modulus, and 0 for another type.
func rsaBits(k ssh.PublicKey) int {
	c, ok := k.(ssh.CryptoPublicKey)
	if !ok {
		return 0
	}
	r, ok := c.CryptoPublicKey().(*rsa.PublicKey)
	if !ok {
		return 0
	}
	return r.N.BitLen()
}
