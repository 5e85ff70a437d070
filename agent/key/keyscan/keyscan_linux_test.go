package keyscan_test

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"deploykeyd/agent/key"
	"deploykeyd/agent/key/keyscan"
)

func TestSearchFindsEveryForm(t *testing.T) {
	k, err := key.Generate(key.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := keyscan.Extract(os.Getpid(), k.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%d", "%x", "%q", "%08b"} {
		if s := fmt.Sprintf(verb, secret); s != "[redacted]" {
			t.Errorf("the secret prints with %s", verb)
		}
	}
	if s, err := json.Marshal(secret); err != nil || string(s) != `"[redacted]"` || secret.LogValue().String() != "[redacted]" {
		t.Errorf("the secret prints in JSON or a log: %v", err)
	}
	seed := secret.Raw()
	forms := map[string][]byte{
		"raw":             seed,
		"first half":      seed[:16],
		"second half":     seed[16:],
		"hex":             []byte(hex.EncodeToString(seed)),
		"upper hex":       bytes.ToUpper([]byte(hex.EncodeToString(seed[16:]))),
		"base64":          []byte(base64.StdEncoding.EncodeToString(seed)),
		"url base64":      []byte(base64.RawURLEncoding.EncodeToString(seed)),
		"base64 of more":  []byte(base64.StdEncoding.EncodeToString(append([]byte("ab"), seed...))),
		"base64 of half":  []byte(base64.StdEncoding.EncodeToString(append([]byte("a"), seed[16:]...))),
		"planted base64":  secret.Base64(),
		"planted hex":     secret.Hex(),
		"across a border": append(bytes.Repeat([]byte{'x'}, 256<<10-5), seed[:16]...),
	}
	for name, text := range forms {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "planted"), append([]byte("before "), text...), 0o600); err != nil {
			t.Fatal(err)
		}
		report, err := keyscan.Search(t.Context(), dir, time.Now().Add(-time.Minute), secret)
		if err != nil || len(report.Hits) != 1 {
			t.Errorf("%s: hits %v, error %v", name, report.Hits, err)
		}
	}

	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "harmless"), k.Public(), 0o600); err != nil {
		t.Fatal(err)
	}
	if report, err := keyscan.Search(t.Context(), dir, time.Time{}, secret); err != nil || report.Read != 1 || len(report.Hits) != 0 {
		t.Errorf("the public key alone: %+v, error %v", report, err)
	}
	if report, err := keyscan.Search(t.Context(), dir, time.Now().Add(time.Hour), secret); err != nil || report.Read != 0 || report.Looked != 1 {
		t.Errorf("unchanged files: %+v, error %v", report, err)
	}
	k.Wipe()
}

// A mount of the kernel's own views is passed over wherever it is.
func TestSearchSkipsTheKernelsFiles(t *testing.T) {
	k, err := key.Generate(key.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := keyscan.Extract(os.Getpid(), k.Public())
	if err != nil {
		t.Fatal(err)
	}
	for _, root := range []string{"/proc/self/net", "/proc/sys/kernel", "/sys/kernel"} {
		if report, err := keyscan.Search(t.Context(), root, time.Time{}, secret); err != nil || report.Looked != 0 {
			t.Errorf("%s: %+v, %v", root, report, err)
		}
	}
	k.Wipe()
}

func TestSearchProcessReadsDeletedOpenFiles(t *testing.T) {
	k, err := key.Generate(key.Ed25519)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := keyscan.Extract(os.Getpid(), k.Public())
	if err != nil {
		t.Fatal(err)
	}
	if report, err := keyscan.SearchProcess(os.Getpid(), secret); err != nil || len(report.Hits) != 0 || report.Read < 4 {
		t.Fatalf("before: %+v, error %v", report, err)
	}
	f, err := os.CreateTemp(t.TempDir(), "open")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(secret.Raw()); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(f.Name()); err != nil {
		t.Fatal(err)
	}
	if report, err := keyscan.SearchProcess(os.Getpid(), secret); err != nil || len(report.Hits) != 1 {
		t.Errorf("with a deleted open file: %+v, error %v", report, err)
	}
	k.Wipe()
}

func TestExtractNeedsThePrivateHalf(t *testing.T) {
	// The public key of test 1 in RFC 8032, section 7.1, whose private half is not here.
	public, err := hex.DecodeString("d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a")
	if err != nil {
		t.Fatal(err)
	}
	sshPublic, err := ssh.NewPublicKey(ed25519.PublicKey(public))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := keyscan.Extract(os.Getpid(), sshPublic.Marshal()[:40]); err == nil || errors.Is(err, keyscan.ErrNotFound) {
		t.Errorf("half a public key: %v", err)
	}
	// A process without the race detector, whose own memory would take minutes to read.
	holder := exec.CommandContext(t.Context(), "cat")
	stdin, err := holder.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() {
		_ = stdin.Close()
		_ = holder.Wait()
	}()
	if _, err := keyscan.Extract(holder.Process.Pid, sshPublic.Marshal()); !errors.Is(err, keyscan.ErrNotFound) {
		t.Errorf("without the private half: %v", err)
	}
}
