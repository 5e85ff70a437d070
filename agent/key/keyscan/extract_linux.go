package keyscan

import (
	"bytes"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"math/big"

	"golang.org/x/crypto/ssh"
)

// ErrNotFound says that the memory does not hold the private key.
var ErrNotFound = errors.New("no private key of the public one in the process's memory")

// Extract finds the private half of the key whose SSH wire form is given in the
// memory of process pid: of Ed25519 keys the seed with the public half behind
// it, of the others a number that fits the public one, as math/big keeps it. It
// needs the right to read that memory: root's.
func Extract(pid int, wire []byte) (*Secret, error) {
	match, size, err := matcher(wire)
	if err != nil {
		return nil, err
	}
	mem, err := openMemory(pid)
	if err != nil {
		return nil, err
	}
	defer mem.close()
	var found *Secret
	mem.each(size, func(text []byte, _ int) bool {
		found = match(text)
		return found == nil
	})
	if found == nil {
		return nil, ErrNotFound
	}
	return found, nil
}

// matcher returns what finds the private half of a public key in a text, and
// how many bytes it has to see at once.
func matcher(wire []byte) (match func(text []byte) *Secret, size int, err error) {
	public, err := ssh.ParsePublicKey(wire)
	if err != nil {
		return nil, 0, err
	}
	holder, ok := public.(ssh.CryptoPublicKey)
	if !ok {
		return nil, 0, fmt.Errorf("a key of type %s is not searched for", public.Type())
	}
	switch p := holder.CryptoPublicKey().(type) {
	case ed25519.PublicKey:
		return func(text []byte) *Secret { return findSeed(text, p) }, ed25519.PrivateKeySize, nil
	case *ecdsa.PublicKey:
		return findNumber(func(n *big.Int) *Secret { return fitsECDSA(p, n) }, 32), 32, nil
	case *rsa.PublicKey:
		return findNumber(func(n *big.Int) *Secret { return fitsRSA(p, n) }, p.Size()/2), p.Size() / 2, nil
	}
	return nil, 0, fmt.Errorf("a key of type %s is not searched for", public.Type())
}

// findSeed looks for the public half with its seed in front.
func findSeed(text []byte, public ed25519.PublicKey) *Secret {
	for i := 0; ; i++ {
		j := bytes.Index(text[i:], public)
		if j < 0 {
			return nil
		}
		i += j
		if i < ed25519.SeedSize {
			continue
		}
		seed := text[i-ed25519.SeedSize : i]
		if bytes.Equal(ed25519.NewKeyFromSeed(seed)[ed25519.SeedSize:], public) {
			return ed25519Secret(bytes.Clone(seed))
		}
	}
}

// findNumber looks for a number of so many bytes that fits, in little-endian
// form at the multiples of a word.
func findNumber(fits func(*big.Int) *Secret, size int) func(text []byte) *Secret {
	const word = 8
	return func(text []byte) *Secret {
		for i := 0; i+size <= len(text); i += word {
			if candidate := text[i : i+size]; random(candidate) {
				if s := fits(new(big.Int).SetBytes(reversed(candidate))); s != nil {
					return s
				}
			}
		}
		return nil
	}
}

// random dismisses what is no random number: four zeros in front, or fewer than
// 20 different bytes among the first 32. Of random ones less than one in a
// thousand million is like that.
func random(text []byte) bool {
	if text[0]|text[1]|text[2]|text[3] == 0 {
		return false
	}
	var seen [256]bool
	n := 0
	for _, b := range text[:32] {
		if !seen[b] {
			seen[b] = true
			n++
		}
	}
	return n >= 20
}

func fitsECDSA(public *ecdsa.PublicKey, d *big.Int) *Secret {
	private, err := ecdh.P256().NewPrivateKey(d.FillBytes(make([]byte, 32)))
	if err != nil {
		return nil
	}
	want, err := public.ECDH()
	if err != nil || !private.PublicKey().Equal(want) {
		return nil
	}
	return ecdsaSecret(d, public.Curve.Params().N)
}

func fitsRSA(public *rsa.PublicKey, p *big.Int) *Secret {
	if p.Bit(0) == 0 || p.BitLen() < public.N.BitLen()/2 {
		return nil
	}
	q, rest := new(big.Int).QuoRem(public.N, p, new(big.Int))
	if rest.Sign() != 0 {
		return nil
	}
	return rsaSecret(p, q, big.NewInt(int64(public.E)))
}
