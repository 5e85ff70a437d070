package key_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"deploykeyd/agent/key"
)

// algorithms lists what each key type must be able to sign with; the first is
// what an empty algorithm means.
func algorithms(t key.Type) []string {
	switch t {
	case key.Ed25519:
		return []string{"", ssh.KeyAlgoED25519}
	case key.ECDSAP256:
		return []string{"", ssh.KeyAlgoECDSA256}
	case key.RSA3072:
		return []string{ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512}
	}
	return nil
}

func generate(t *testing.T, kind key.Type) (*key.Key, ssh.PublicKey) {
	t.Helper()
	k, err := key.Generate(kind)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(k.Wipe)
	public, err := ssh.ParsePublicKey(k.Public())
	if err != nil {
		t.Fatal(err)
	}
	return k, public
}

func TestSignaturesVerify(t *testing.T) {
	data := []byte("what the client wants signed")
	for _, kind := range key.Types() {
		t.Run(string(kind), func(t *testing.T) {
			k, public := generate(t, kind)
			for _, algorithm := range algorithms(kind) {
				signature, err := k.Sign(data, algorithm)
				if err != nil {
					t.Fatalf("%q: %v", algorithm, err)
				}
				if algorithm != "" && signature.Format != algorithm {
					t.Errorf("asked for %q, got %q", algorithm, signature.Format)
				}
				if err := public.Verify(data, signature); err != nil {
					t.Errorf("%q: %v", algorithm, err)
				}
				if public.Verify([]byte("something else"), signature) == nil {
					t.Errorf("%q: the signature is good for other data", algorithm)
				}
			}
		})
	}
}

func TestEachKeyIsItsOwn(t *testing.T) {
	for _, kind := range key.Types() {
		one, public := generate(t, kind)
		two, _ := generate(t, kind)
		if bytes.Equal(one.Public(), two.Public()) {
			t.Errorf("%s: two keys are one", kind)
		}
		algorithm := algorithms(kind)[0]
		signature, err := two.Sign([]byte("x"), algorithm)
		if err != nil {
			t.Fatal(err)
		}
		if public.Verify([]byte("x"), signature) == nil {
			t.Errorf("%s: one key's signature is good for another", kind)
		}
	}
}

func TestKeyTypes(t *testing.T) {
	want := map[key.Type]string{
		key.Ed25519: ssh.KeyAlgoED25519, key.ECDSAP256: ssh.KeyAlgoECDSA256, key.RSA3072: ssh.KeyAlgoRSA,
	}
	if len(key.Types()) != len(want) || key.Types()[0] != key.Ed25519 {
		t.Errorf("types are %v", key.Types())
	}
	for kind, algorithm := range want {
		if _, public := generate(t, kind); public.Type() != algorithm {
			t.Errorf("%s is %s in SSH", kind, public.Type())
		}
	}
	if k, err := key.Generate("dsa"); err == nil || k != nil || !strings.Contains(err.Error(), "dsa") {
		t.Errorf("an unknown type gives %v", err)
	}
}

func TestSignRefuses(t *testing.T) {
	rsa, _ := generate(t, key.RSA3072)
	for _, algorithm := range []string{"", ssh.KeyAlgoRSA, ssh.KeyAlgoED25519, "x"} {
		if _, err := rsa.Sign([]byte("x"), algorithm); err == nil {
			t.Errorf("RSA signs with %q", algorithm)
		}
	}
	ed, _ := generate(t, key.Ed25519)
	for _, algorithm := range []string{ssh.KeyAlgoRSA, ssh.KeyAlgoRSASHA256, ssh.KeyAlgoECDSA256, "x"} {
		if _, err := ed.Sign([]byte("x"), algorithm); err == nil {
			t.Errorf("Ed25519 signs with %q", algorithm)
		}
	}
}

func TestSignAfterWipe(t *testing.T) {
	for _, kind := range key.Types() {
		k, public := generate(t, kind)
		before := k.Public()
		k.Wipe()
		k.Wipe()
		if _, err := k.Sign([]byte("x"), algorithms(kind)[0]); !errors.Is(err, key.ErrWiped) {
			t.Errorf("%s: Sign gives %v", kind, err)
		}
		if !bytes.Equal(k.Public(), before) || !strings.Contains(fmt.Sprint(k), ssh.FingerprintSHA256(public)) {
			t.Errorf("%s: the public half went with the private one", kind)
		}
	}
}

func TestPublicIsACopy(t *testing.T) {
	k, _ := generate(t, key.Ed25519)
	before := k.Public()
	clear(k.Public())
	if !bytes.Equal(before, k.Public()) {
		t.Error("a caller can change the key")
	}
}

func TestConcurrentUse(t *testing.T) {
	k, public := generate(t, key.Ed25519)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 50 {
				signature, err := k.Sign([]byte("x"), "")
				if errors.Is(err, key.ErrWiped) {
					return
				}
				if err != nil || public.Verify([]byte("x"), signature) != nil {
					t.Errorf("a signature next to Wipe: %v", err)
				}
			}
		})
	}
	wg.Go(k.Wipe)
	wg.Wait()
}

func TestKeyIsUnprintable(t *testing.T) {
	for _, kind := range key.Types() {
		t.Run(string(kind), func(t *testing.T) {
			k, public := generate(t, kind)
			want := "key " + ssh.FingerprintSHA256(public)
			for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%o", "%t", "%e", "%10.3s"} {
				if got := fmt.Sprintf(verb, k); got != want {
					t.Errorf("%s gives %q", verb, got)
				}
			}
			text, err := json.Marshal(map[string]any{"k": k})
			if err != nil || string(text) != `{"k":"`+want+`"}` {
				t.Errorf("JSON gives %s, %v", text, err)
			}
			var out bytes.Buffer
			slog.New(slog.NewTextHandler(&out, nil)).Info("x", "k", k)
			slog.New(slog.NewJSONHandler(&out, nil)).Info("x", "k", k)
			if strings.Count(out.String(), want) != 2 || out.Len() > 400 {
				t.Errorf("slog gives %s", out.String())
			}
		})
	}
}
