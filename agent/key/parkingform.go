package key

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"
)

// form says how the private half of a key lies in a record.
type form uint32

const (
	formEd25519 form = 1 + iota // the seed
	formECDSA                   // the number, big-endian
	formRSA                     // both primes and the exponent, big-endian
)

// Sizes in bytes.
const (
	ecdsaSize    = 32
	rsaPrimeSize = rsaBits / 16
	rsaSize      = 2*rsaPrimeSize + rsaBits/8
)

// rsaExponent is the public exponent of every key that crypto/rsa generates.
const rsaExponent = 65537

// size returns how many bytes a private half takes: a multiple of align, or 0
// when there is no such form.
func (f form) size() int {
	switch f {
	case formEd25519:
		return ed25519.SeedSize
	case formECDSA:
		return ecdsaSize
	case formRSA:
		return rsaSize
	}
	return 0
}

// formOf returns the form of a private key, and what writes it into so many
// bytes. That writes nothing anywhere else.
func formOf(private crypto.Signer) (form, func(dst []byte)) {
	switch p := private.(type) {
	case ed25519.PrivateKey:
		return formEd25519, func(dst []byte) { copy(dst, p[:ed25519.SeedSize]) }
	case *ecdsa.PrivateKey:
		//nolint:staticcheck // SA1019: the way around it makes a copy that nobody wipes
		return formECDSA, func(dst []byte) { p.D.FillBytes(dst) }
	case *rsa.PrivateKey:
		return formRSA, func(dst []byte) {
			p.Primes[0].FillBytes(dst[:rsaPrimeSize])
			p.Primes[1].FillBytes(dst[rsaPrimeSize : 2*rsaPrimeSize])
			p.D.FillBytes(dst[2*rsaPrimeSize:])
		}
	}
	panic(fmt.Sprintf("a key is a %T", private)) // newKey's callers make no other
}

// restore makes a key of its private half, which it does not keep. An error
// means that the bytes are no key.
func (f form) restore(src []byte) (*Key, error) {
	private, wipe, err := f.private(src)
	if err != nil {
		return nil, err
	}
	return newKey(private, wipe)
}

func (f form) private(src []byte) (crypto.Signer, func(), error) {
	switch f {
	case formEd25519:
		private := make(ed25519.PrivateKey, ed25519.PrivateKeySize)
		copy(private, src)
		signer, wipe := completeEd25519(private)
		return signer, wipe, nil
	case formECDSA:
		private, err := ecdsa.ParseRawPrivateKey(elliptic.P256(), src)
		if err != nil {
			return nil, nil, err
		}
		return private, func() { wipeECDSA(private) }, nil
	case formRSA:
		return restoreRSA(src)
	}
	return nil, nil, errors.New("no such form")
}

// restoreRSA lets crypto/rsa check that the numbers belong together. They were
// written by a program that had generated them: whether the primes are prime is
// not asked again.
func restoreRSA(src []byte) (crypto.Signer, func(), error) {
	number := func(from, to int) *big.Int { return new(big.Int).SetBytes(src[from:to]) }
	p, q := number(0, rsaPrimeSize), number(rsaPrimeSize, 2*rsaPrimeSize)
	private := &rsa.PrivateKey{
		PublicKey: rsa.PublicKey{N: new(big.Int).Mul(p, q), E: rsaExponent},
		D:         number(2*rsaPrimeSize, rsaSize),
		Primes:    []*big.Int{p, q},
	}
	err := errors.New("wrong length")
	if private.N.BitLen() == rsaBits {
		private.Precompute()
		err = private.Validate()
	}
	if err != nil {
		wipeRSA(private)
		return nil, nil, err
	}
	return private, func() { wipeRSA(private) }, nil
}
