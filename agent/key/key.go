// Package key owns private keys: it is the only place of the program that
// touches private bytes. It generates a key, signs with it and wipes it, and
// parks it in memory that outlives the process.
//
// It never returns, prints or marshals a private byte, and stores it nowhere
// but in that memory.
package key

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"sync"

	"golang.org/x/crypto/ssh"
)

// Type is the kind of a keypair, spelled as the configuration spells it.
type Type string

// The key types. All five forge kinds accept each of them as a deploy key.
const (
	Ed25519   Type = "ed25519"
	ECDSAP256 Type = "ecdsa-p256"
	RSA3072   Type = "rsa-3072"
)

// Types lists the key types, the default first.
func Types() []Type { return []Type{Ed25519, ECDSAP256, RSA3072} }

// rsaBits is the length of an RSA key.
const rsaBits = 3072

// ErrWiped is returned by Sign and Park after Wipe.
var ErrWiped = errors.New("the key has been wiped")

// Key is a keypair. It is one heap object for its whole life: copying it, or
// signing from temporary copies, would leave private bytes behind in memory
// that nobody wipes. A Key is safe for concurrent use.
type Key struct {
	mu      sync.RWMutex
	signer  ssh.AlgorithmSigner // nil after Wipe
	private crypto.Signer       // what signer signs with; nil after Wipe
	wipe    func()
	public  []byte // wire form; never changes
}

// Generate makes a new key. An error means that the type is unknown.
func Generate(t Type) (k *Key, err error) {
	erasing(func() { k, err = generate(t) })
	return k, err
}

func generate(t Type) (*Key, error) {
	var (
		private crypto.Signer
		wipe    func()
		err     error
	)
	switch t {
	case Ed25519:
		private, wipe = generateEd25519()
	case ECDSAP256:
		private, wipe, err = generateECDSA()
	case RSA3072:
		private, wipe, err = generateRSA()
	default:
		return nil, fmt.Errorf("unknown key type %q", t)
	}
	if err != nil {
		return nil, fmt.Errorf("generate %s key: %w", t, err)
	}
	k, err := newKey(private, wipe)
	if err != nil {
		return nil, fmt.Errorf("generate %s key: %w", t, err)
	}
	return k, nil
}

func newKey(private crypto.Signer, wipe func()) (*Key, error) {
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		return nil, err
	}
	algorithmSigner, ok := signer.(ssh.AlgorithmSigner)
	if !ok {
		return nil, errors.New("signer cannot choose algorithms")
	}
	return &Key{signer: algorithmSigner, private: private, wipe: wipe, public: signer.PublicKey().Marshal()}, nil
}

func generateEd25519() (crypto.Signer, func()) {
	private := make(ed25519.PrivateKey, ed25519.PrivateKeySize)
	_, _ = rand.Read(private[:ed25519.SeedSize]) // never fails since Go 1.24
	return completeEd25519(private)
}

// completeEd25519 computes the public half of a private key that has its seed.
// It fills that one array and keeps to it: crypto/ed25519 keeps an expanded form
// for each address of a private key that signs. It makes that form when it is
// first needed, and several if many sign at once then; so the first signature is
// made here.
func completeEd25519(private ed25519.PrivateKey) (crypto.Signer, func()) {
	whole := ed25519.NewKeyFromSeed(private[:ed25519.SeedSize])
	copy(private[ed25519.SeedSize:], whole[ed25519.SeedSize:])
	clear(whole)
	ed25519.Sign(private, nil)
	return private, func() { clear(private) }
}

func generateECDSA() (crypto.Signer, func(), error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	return private, func() { wipeECDSA(private) }, nil
}

func wipeECDSA(private *ecdsa.PrivateKey) {
	//nolint:staticcheck // SA1019: the words of D must be reached to be overwritten
	wipeInt(private.D)
}

func generateRSA() (crypto.Signer, func(), error) {
	private, err := rsa.GenerateKey(rand.Reader, rsaBits)
	if err != nil {
		return nil, nil, err
	}
	return private, func() { wipeRSA(private) }, nil
}

func wipeRSA(private *rsa.PrivateKey) {
	wipeInt(private.D)
	for _, p := range private.Primes {
		wipeInt(p)
	}
	wipeInt(private.Precomputed.Dp)
	wipeInt(private.Precomputed.Dq)
	wipeInt(private.Precomputed.Qinv)
}

func wipeInt(i *big.Int) {
	if i != nil {
		clear(i.Bits())
	}
}

// Public returns a copy of the public key in SSH wire form.
func (k *Key) Public() []byte { return append([]byte(nil), k.public...) }

// Sign signs data with the named signature algorithm; empty means the key's own
// name, except that an RSA key must be told a SHA-2 algorithm (RFC 8332).
func (k *Key) Sign(data []byte, algorithm string) (signature *ssh.Signature, err error) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.signer == nil {
		return nil, ErrWiped
	}
	if algorithm == "" {
		algorithm = k.signer.PublicKey().Type()
	}
	if algorithm == ssh.KeyAlgoRSA {
		return nil, errors.New("RSA signatures with SHA-1 are refused")
	}
	erasing(func() { signature, err = k.signer.SignWithAlgorithm(rand.Reader, data, algorithm) })
	return signature, err
}

// Wipe overwrites the private bytes and makes every later Sign fail. It waits
// for signatures in progress.
//
// The standard library keeps an expanded form of each key that has signed, and
// lets nobody reach it. Wipe makes it unused; the next two collections then
// free it, and erase it in a build with GOEXPERIMENT=runtimesecret. The runtime
// collects every two minutes by itself.
func (k *Key) Wipe() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.signer == nil {
		return
	}
	k.wipe()
	k.signer, k.private, k.wipe = nil, nil, nil
}

// Format prints the public fingerprint whatever the verb, so that no format
// string can reach a private byte.
func (k *Key) Format(s fmt.State, _ rune) { _, _ = io.WriteString(s, k.label()) }

// LogValue prints the public fingerprint.
func (k *Key) LogValue() slog.Value { return slog.StringValue(k.label()) }

// MarshalText prints the public fingerprint, and with it MarshalJSON's default.
func (k *Key) MarshalText() ([]byte, error) { return []byte(k.label()), nil }

func (k *Key) label() string {
	public, err := ssh.ParsePublicKey(k.public)
	if err != nil {
		return "key (unknown)"
	}
	return "key " + ssh.FingerprintSHA256(public)
}
