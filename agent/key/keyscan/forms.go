package keyscan

import (
	"crypto/sha512"
	"math/big"
	"slices"
)

// Secret is a private key to search for. It does not print.
type Secret struct {
	private []byte // the seed (Ed25519), the number (ECDSA), one prime (RSA)
	// The forms in which it lies in memory, and groups of forms of what is
	// computed from it: each group gives the key away.
	forms    [][]byte
	expanded [][][]byte
}

// ed25519Order is the order of the group (RFC 8032, section 5.1).
const ed25519Order = "7237005577332262213973186563042994240857116359379907606001950938285454250989"

// ed25519Secret knows the scalar and the prefix that a seed expands to. The
// prefix with any one signature gives the scalar.
func ed25519Secret(seed []byte) *Secret {
	digest := sha512.Sum512(seed)
	clamped := slices.Clone(digest[:32])
	clamped[0] &= 248
	clamped[31] = clamped[31]&63 | 64
	order, _ := new(big.Int).SetString(ed25519Order, 10)
	scalar := new(big.Int).Mod(new(big.Int).SetBytes(reversed(clamped)), order)
	return &Secret{
		private: seed,
		forms:   [][]byte{seed},
		expanded: [][][]byte{
			{slices.Clone(digest[:32]), clamped, littleEndian(scalar, 32), montgomery(scalar, order, 32)},
			{slices.Clone(digest[32:])},
		},
	}
}

func ecdsaSecret(d, order *big.Int) *Secret {
	private := d.FillBytes(make([]byte, 32))
	return &Secret{
		private:  private,
		forms:    [][]byte{private, reversed(private)},
		expanded: [][][]byte{{montgomery(d, order, 32)}},
	}
}

// rsaSecret knows the primes, the private exponent in both usual forms, and
// the exponents of the Chinese remainder theorem.
func rsaSecret(p, q, e *big.Int) *Secret {
	one := big.NewInt(1)
	p1, q1 := new(big.Int).Sub(p, one), new(big.Int).Sub(q, one)
	phi := new(big.Int).Mul(p1, q1)
	lambda := new(big.Int).Div(phi, new(big.Int).GCD(nil, nil, p1, q1))
	s := &Secret{private: p.Bytes(), forms: bothWays(p)}
	s.expanded = [][][]byte{bothWays(q)}
	for _, modulus := range []*big.Int{phi, lambda, p1, q1} {
		s.expanded = append(s.expanded, bothWays(new(big.Int).ModInverse(e, modulus)))
	}
	return s
}

func bothWays(n *big.Int) [][]byte { return [][]byte{n.Bytes(), reversed(n.Bytes())} }

// montgomery returns n in the Montgomery form of a field of so many bytes.
func montgomery(n, modulus *big.Int, size int) []byte {
	m := new(big.Int).Lsh(n, uint(8*size))
	return littleEndian(m.Mod(m, modulus), size)
}

func littleEndian(n *big.Int, size int) []byte { return reversed(n.FillBytes(make([]byte, size))) }

func reversed(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}
