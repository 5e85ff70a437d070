package credential

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"strings"
	"sync"
	"testing"
)

// testKey is the App's key of the internal tests.
var testKey = sync.OnceValue(func() *rsa.PrivateKey { return makeKey(2048) })

func makeKey(bits int) *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, bits)
	if err != nil {
		panic(err)
	}
	return key
}

func pkcs1PEM(key *rsa.PrivateKey) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)})
}

func pkcs8PEM(tb testing.TB, key any) []byte {
	tb.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		tb.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
}

func TestParsePrivateKey(t *testing.T) {
	key := testKey()
	for name, text := range map[string][]byte{
		"PKCS #1":             pkcs1PEM(key),
		"PKCS #8":             pkcs8PEM(t, key),
		"no newline":          bytes.TrimSpace(pkcs1PEM(key)),
		"CRLF":                bytes.ReplaceAll(pkcs1PEM(key), []byte("\n"), []byte("\r\n")),
		"empty lines after":   append(pkcs1PEM(key), "\n \n"...),
		"words in front":      append([]byte("Bag Attributes\n"), pkcs8PEM(t, key)...),
		"an empty line first": append([]byte("\n"), pkcs1PEM(key)...),
	} {
		if got, err := parsePrivateKey(text); err != nil || !got.Equal(key) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestParsePrivateKeyRefuses(t *testing.T) {
	key := testKey()
	curve, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	small := makeKey(1024)
	large, err := rsa.GenerateMultiPrimeKey(rand.Reader, 8, maxBits+8) //nolint:staticcheck // many small primes are found soon
	if err != nil {
		t.Fatal(err)
	}
	good := pkcs1PEM(key)
	for name, c := range map[string]struct {
		text []byte
		want string
	}{
		"nothing":         {nil, "no private key"},
		"a token":         {[]byte(theToken), "no private key"},
		"half":            {good[:len(good)/2], "no private key"},
		"damaged":         {bytes.Replace(good, []byte("MII"), []byte("MIX"), 1), "no private key"},
		"damaged PKCS #8": {bytes.Replace(pkcs8PEM(t, key), []byte("MII"), []byte("MIX"), 1), "no private key"},
		"two":             {append(bytes.Clone(good), good...), "after the private key"},
		"words after":     {append(bytes.Clone(good), "more"...), "after the private key"},
		"too long":        {append(bytes.Clone(good), bytes.Repeat([]byte(" "), maxPEM)...), "no private key"},
		"public":          {pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: x509.MarshalPKCS1PublicKey(&key.PublicKey)}), "not an RSA key"},
		"a curve's":       {pkcs8PEM(t, curve), "not an RSA key"},
		"encrypted":       {pem.EncodeToMemory(&pem.Block{Type: "ENCRYPTED PRIVATE KEY", Bytes: []byte("x")}), "encrypted"},
		"encrypted, old": {pem.EncodeToMemory(&pem.Block{
			Type: "RSA PRIVATE KEY", Headers: map[string]string{"Proc-Type": "4,ENCRYPTED", "DEK-Info": "AES-128-CBC,00"}, Bytes: []byte("x"),
		}), "encrypted"},
		"small": {pkcs1PEM(small), "1024 bits"},
		"large": {pkcs1PEM(large), "8200 bits"},
	} {
		got, err := parsePrivateKey(c.text)
		if err == nil || got != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s gives %v", name, err)
			continue
		}
		hidden(t, name, err.Error(), string(c.text))
	}
}

func FuzzParsePrivateKey(f *testing.F) {
	key := testKey()
	f.Add(pkcs1PEM(key))
	f.Add(pkcs8PEM(f, key))
	f.Add(append(pkcs1PEM(key), "more"...))
	f.Add([]byte("-----BEGIN RSA PRIVATE KEY-----\nDEK-Info: x\n\nAAAA\n-----END RSA PRIVATE KEY-----\n"))
	f.Add([]byte("-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----"))
	f.Fuzz(func(t *testing.T, text []byte) {
		key, err := parsePrivateKey(text)
		if (key == nil) == (err == nil) {
			t.Fatalf("gives both or none: %v", err)
		}
		if err != nil {
			return
		}
		if bits := key.N.BitLen(); bits < minBits || bits > maxBits {
			t.Errorf("a key of %d bits", bits)
		}
	})
}
