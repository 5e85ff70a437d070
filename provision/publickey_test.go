package provision_test

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
)

func TestParsePublicKey(t *testing.T) {
	for _, line := range []string{
		ed25519Line, ed25519Line + "\n", " " + ed25519Line + " ", ed25519Line + " a comment here", strings.Replace(ed25519Line, " ", "\t", 1),
	} {
		key, err := provision.ParsePublicKey(line)
		if err != nil {
			t.Errorf("%q: %v", line, err)
			continue
		}
		if key.String() != ed25519Line {
			t.Errorf("%q came back as %q", line, key)
		}
	}
	key := mustKey(t, ed25519Line)
	if key != mustKey(t, ed25519Line+" comment") || key == mustKey(t, otherLine) {
		t.Error("keys do not compare by their wire form")
	}
	const want = "SHA256:v0MFWYmFAG4LK1AC0u/P+0uoBPkobKU8XTUDgRtM+ew"
	if got := key.Fingerprint(); got != want {
		t.Errorf("fingerprint is %s, want %s", got, want)
	}
	if got := key.TagHash(); got != "bf4305598985006e" {
		t.Errorf("tag hash is %s", got)
	}
}

func TestPublicKeyAgreesWithSSH(t *testing.T) {
	theirs, _, _, _, err := ssh.ParseAuthorizedKey([]byte(ed25519Line))
	if err != nil {
		t.Fatal(err)
	}
	ours, err := provision.PublicKeyFromBlob(theirs.Marshal())
	if err != nil {
		t.Fatal(err)
	}
	if ours.String()+"\n" != string(ssh.MarshalAuthorizedKey(theirs)) || ours.Type() != theirs.Type() ||
		ours.Fingerprint() != ssh.FingerprintSHA256(theirs) || !bytes.Equal(ours.Blob(), theirs.Marshal()) {
		t.Errorf("x/crypto reads %s otherwise", ours)
	}
	ours.Blob()[5] ^= 1
	if !bytes.Equal(ours.Blob(), theirs.Marshal()) {
		t.Error("Blob gives out the key's own bytes")
	}
}

func TestParsePublicKeyRefuses(t *testing.T) {
	blob := strings.Fields(ed25519Line)[1]
	short := base64.StdEncoding.EncodeToString([]byte{0, 0, 0, 11, 's', 's', 'h'})
	large := base64.StdEncoding.EncodeToString(append([]byte("\x00\x00\x00\x07ssh-rsa"), make([]byte, 9<<10)...))
	for name, line := range map[string]string{
		"empty":            "",
		"one field":        "ssh-ed25519",
		"base64 alone":     blob,
		"options in front": `command="x" ` + ed25519Line,
		"two lines":        ed25519Line + "\n" + ed25519Line,
		"carriage return":  "ssh-ed25519\r" + blob,
		"bad base64":       "ssh-ed25519 ????",
		"cut":              "ssh-ed25519 " + short,
		"another type":     "ssh-rsa " + blob,
		"too long":         ed25519Line + " " + strings.Repeat("c", 20<<10),
		"blob too large":   "ssh-rsa " + large,
		"a private key":    "-----BEGIN OPENSSH PRIVATE KEY-----\nAAAA\n-----END OPENSSH PRIVATE KEY-----",
	} {
		if key, err := provision.ParsePublicKey(line); err == nil {
			t.Errorf("%s: accepted as %s", name, key)
		}
	}
}

func TestZeroPublicKey(t *testing.T) {
	var zero provision.PublicKey
	if !zero.IsZero() || zero.String() != "" || zero.Type() != "" {
		t.Errorf("the zero key is %q of type %q", zero, zero.Type())
	}
	if _, err := provision.PublicKeyFromBlob(nil); err == nil {
		t.Error("an empty blob is a key")
	}
}

func TestPublicKeyInJSON(t *testing.T) {
	type box struct{ Key, None provision.PublicKey }
	in := box{Key: mustKey(t, ed25519Line)}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	var out box
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if in != out {
		t.Errorf("%s came back as %+v", text, out)
	}
	if err := json.Unmarshal([]byte(`{"Key":"ssh-ed25519 AAAA"}`), &out); err == nil {
		t.Error("a broken key was read")
	}
}

func FuzzParsePublicKey(f *testing.F) {
	f.Add(ed25519Line)
	f.Add(otherLine + " comment\n")
	f.Add("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAAAgQ==")
	f.Add("x AAAAAXgA")
	f.Add("")
	f.Fuzz(func(t *testing.T, line string) {
		key, err := provision.ParsePublicKey(line)
		if err != nil {
			if !key.IsZero() {
				t.Errorf("%q: a refused key came back", line)
			}
			return
		}
		again, err := provision.ParsePublicKey(key.String())
		if err != nil || again != key {
			t.Errorf("%q gives %q, which does not parse to itself: %v", line, key, err)
		}
		if strings.ContainsAny(key.String(), "\r\n") || len(strings.Fields(key.String())) != 2 {
			t.Errorf("%q gives the line %q", line, key)
		}
	})
}
