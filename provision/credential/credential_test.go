//go:build unix

package credential_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"deploykeyd/provision/credential"
)

const token = "gta_0123456789abcdefghijklmnopqrstuvwxyz"

// holder keeps a secret where fmt cannot ask its methods.
type holder struct{ inner credential.Secret }

func TestSecretIsUnprintable(t *testing.T) {
	secret := credential.NewSecret(token)
	hidden := []any{secret, &secret, holder{secret}, &holder{secret}, []credential.Secret{secret}, map[string]credential.Secret{"k": secret}}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d", "%T", "%p", "%10.3s"} {
		for _, v := range hidden {
			assertHidden(t, verb, fmt.Sprintf(verb, v))
		}
	}
	if got := fmt.Sprintf("%#v", secret); got != "[redacted]" {
		t.Errorf("%%#v gives %q", got)
	}
	for _, v := range hidden {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		assertHidden(t, "json", string(text))
	}
	var out bytes.Buffer
	for _, h := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(h).Info("x", "secret", secret, "holder", holder{secret}, "list", []credential.Secret{secret})
	}
	assertHidden(t, "slog", out.String())
	text, err := secret.MarshalText()
	if err != nil || string(text) != "[redacted]" {
		t.Errorf("MarshalText gives %q, %v", text, err)
	}
	if secret.String() != "[redacted]" || secret.GoString() != "[redacted]" {
		t.Error("String or GoString prints something else")
	}
}

func assertHidden(t *testing.T, how, out string) {
	t.Helper()
	for _, form := range []string{token, fmt.Sprintf("%x", token), fmt.Sprintf("%X", token), token[:8]} {
		if strings.Contains(out, form) {
			t.Errorf("%s leaks the secret: %s", how, out)
		}
	}
}

func TestSecretHoldsItsText(t *testing.T) {
	if got := credential.NewSecret(token).Reveal(); got != token {
		t.Errorf("Reveal gives %q", got)
	}
	if !(credential.Secret{}).IsZero() || !credential.NewSecret("").IsZero() || credential.NewSecret("x").IsZero() {
		t.Error("IsZero is wrong")
	}
	if !credential.NewSecret("a").Equal(credential.NewSecret("a")) || credential.NewSecret("a").Equal(credential.NewSecret("b")) {
		t.Error("Equal is wrong")
	}
}

func write(t *testing.T, text string, mode os.FileMode) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestFile(t *testing.T) {
	for _, text := range []string{token, token + "\n", token + "\r\n"} {
		for _, mode := range []os.FileMode{0o600, 0o400} {
			path := write(t, text, mode)
			secret, err := credential.File(path).Load(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if secret.Reveal() != token {
				t.Errorf("%q gives %q", text, secret.Reveal())
			}
			if got := credential.File(path).String(); got != "file "+path {
				t.Errorf("String gives %q", got)
			}
		}
	}
}

func TestFileThroughSymlink(t *testing.T) {
	path := write(t, token, 0o600)
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if secret, err := credential.File(link).Load(t.Context()); err != nil || secret.Reveal() != token {
		t.Errorf("through a symlink: %v", err)
	}
}

func TestFileIsReadAnew(t *testing.T) {
	path := write(t, "old", 0o600)
	source := credential.File(path)
	for _, want := range []string{"old", "new"} {
		if err := os.WriteFile(path, []byte(want), 0o600); err != nil {
			t.Fatal(err)
		}
		if secret, err := source.Load(t.Context()); err != nil || secret.Reveal() != want {
			t.Errorf("gives %q, %v; want %q", secret.Reveal(), err, want)
		}
	}
}

func TestFileRefused(t *testing.T) {
	dir := t.TempDir()
	pipe := filepath.Join(dir, "pipe")
	if err := syscall.Mkfifo(pipe, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name, path string
		want       []string
	}{
		{"missing", filepath.Join(dir, "none"), []string{"does not exist", "write the token"}},
		{"directory", dir, []string{"not a regular file"}},
		{"pipe", pipe, []string{"not a regular file"}},
		{"group may read", write(t, token, 0o640), []string{"0640", "chmod 600"}},
		{"others may read", write(t, token, 0o604), []string{"0604", "chmod 600"}},
		{"others may write", write(t, token, 0o602), []string{"0602", "chmod 600"}},
		{"empty", write(t, "", 0o600), []string{"empty", "put the token"}},
		{"only a newline", write(t, "\n", 0o600), []string{"empty"}},
		{"two lines", write(t, token+"\nmore\n", 0o600), []string{"several lines"}},
		{"two newlines", write(t, token+"\n\n", 0o600), []string{"several lines"}},
		{"space inside", write(t, "to "+token, 0o600), []string{"spaces"}},
		{"space in front", write(t, " "+token, 0o600), []string{"spaces"}},
		{"control", write(t, token+"\x00", 0o600), []string{"control characters"}},
		{"not ASCII", write(t, token+"é", 0o600), []string{"ASCII"}},
		{"too large", write(t, strings.Repeat("x", credential.MaxSize+1), 0o600), []string{"more than 65536"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			secret, err := credential.File(c.path).Load(t.Context())
			if err == nil {
				t.Fatal("accepted")
			}
			if !secret.IsZero() {
				t.Error("a refused credential came back")
			}
			for _, want := range append(c.want, c.path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("error lacks %q: %v", want, err)
				}
			}
			assertHidden(t, "error", err.Error())
		})
	}
}

func TestFileOfMaxSize(t *testing.T) {
	text := strings.Repeat("x", credential.MaxSize)
	if secret, err := credential.File(write(t, text, 0o600)).Load(t.Context()); err != nil || secret.Reveal() != text {
		t.Errorf("refused: %v", err)
	}
}

func TestFileAfterContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := credential.File(write(t, token, 0o600)).Load(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("gives %v", err)
	}
}

func TestEnv(t *testing.T) {
	const name = "DEPLOYKEYD_TEST_TOKEN"
	source := credential.Env(name)
	if source.String() != "env "+name {
		t.Errorf("String gives %q", source)
	}
	t.Setenv(name, token)
	if secret, err := source.Load(t.Context()); err != nil || secret.Reveal() != token {
		t.Errorf("gives %v", err)
	}
	for text, want := range map[string]string{
		"":             "not set or empty",
		token + "\n":   "several lines",
		token + " two": "spaces",
	} {
		t.Setenv(name, text)
		_, err := source.Load(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), name) {
			t.Errorf("%q gives %v", text, err)
			continue
		}
		assertHidden(t, "error", err.Error())
	}
	if err := os.Unsetenv(name); err != nil {
		t.Fatal(err)
	}
	if _, err := source.Load(t.Context()); err == nil || !strings.Contains(err.Error(), "set it to the token") {
		t.Errorf("unset gives %v", err)
	}
}
