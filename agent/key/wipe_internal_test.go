package key

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"fmt"
	"log/slog"
	"math/big"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

func TestWipeEd25519(t *testing.T) {
	signer, wipe := generateEd25519()
	private, ok := signer.(ed25519.PrivateKey)
	if !ok {
		t.Fatalf("the signer is a %T", signer)
	}
	if bytes.Equal(private, make([]byte, len(private))) {
		t.Fatal("there is no key before the wipe")
	}
	if !bytes.Equal(private, ed25519.NewKeyFromSeed(private.Seed())) {
		t.Fatal("the halves do not belong together")
	}
	wipe()
	if !bytes.Equal(private, make([]byte, ed25519.PrivateKeySize)) {
		t.Errorf("private bytes remain: %x", []byte(private))
	}
}

// words gives i's own memory, not a copy.
func words(t *testing.T, i *big.Int) []big.Word {
	t.Helper()
	w := i.Bits()
	if len(w) == 0 {
		t.Fatal("there is no key before the wipe")
	}
	return w
}

func wantZero(t *testing.T, what string, w []big.Word) {
	t.Helper()
	for _, v := range w {
		if v != 0 {
			t.Errorf("%s remains", what)
			return
		}
	}
}

func TestWipeECDSA(t *testing.T) {
	signer, wipe, err := generateECDSA()
	if err != nil {
		t.Fatal(err)
	}
	private, ok := signer.(*ecdsa.PrivateKey)
	if !ok {
		t.Fatalf("the signer is a %T", signer)
	}
	//nolint:staticcheck // SA1019: the test looks at the very words
	d := words(t, private.D)
	wipe()
	wantZero(t, "D", d)
}

func TestWipeRSA(t *testing.T) {
	signer, wipe, err := generateRSA()
	if err != nil {
		t.Fatal(err)
	}
	private, ok := signer.(*rsa.PrivateKey)
	if !ok {
		t.Fatalf("the signer is a %T", signer)
	}
	secret := map[string][]big.Word{
		"D":  words(t, private.D),
		"P":  words(t, private.Primes[0]),
		"Q":  words(t, private.Primes[1]),
		"Dp": words(t, private.Precomputed.Dp),
		"Dq": words(t, private.Precomputed.Dq),
		"Qi": words(t, private.Precomputed.Qinv),
	}
	wipe()
	for what, w := range secret {
		wantZero(t, what, w)
	}
}

// holder keeps a key where fmt cannot ask its methods and walks its fields.
type holder struct{ inner *Key }

func TestFieldsHideThePrivateBytes(t *testing.T) {
	private, wipe := generateEd25519()
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	k := &Key{signer: signer.(ssh.AlgorithmSigner), wipe: wipe, public: signer.PublicKey().Marshal()}
	seed := private.(ed25519.PrivateKey).Seed()
	forms := []string{
		fmt.Sprintf("%x", seed[:8]), fmt.Sprintf("%X", seed[:8]), fmt.Sprintf("% x", seed[:8]), string(seed[:8]),
		strings.Trim(fmt.Sprintf("%d", seed[:8]), "[]"), strings.Trim(fmt.Sprintf("%03d", seed[:8]), "[]"),
		strings.TrimSuffix(strings.TrimPrefix(fmt.Sprintf("%#v", seed[:8]), "[]byte{"), "}"),
	}
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t", "%e", "%c", "%03d"} {
		fmt.Fprintf(&out, verb, holder{k})
		fmt.Fprintf(&out, verb, &holder{k})
		fmt.Fprintf(&out, verb, []holder{{k}})
	}
	slog.New(slog.NewTextHandler(&out, nil)).Info("x", "holder", holder{k})
	for _, form := range forms {
		if strings.Contains(out.String(), form) {
			t.Errorf("the private bytes were printed, as %q", form)
		}
	}
	if !strings.Contains(out.String(), "0x") {
		t.Error("fmt did not walk the fields: this test proves nothing")
	}
}
