//go:build linux

package credential

import (
	"context"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// panicReader gives a text and then panics.
type panicReader struct{ text io.Reader }

func (r panicReader) Read(p []byte) (int, error) {
	n, err := r.text.Read(p)
	if errors.Is(err, io.EOF) {
		panic("in the reading")
	}
	return n, err
}

type inner struct{ secret Secret }

type outer struct {
	inner  inner
	list   []Secret
	source Source
}

// takesAll has everything that may hold a credential as an argument.
//
//go:noinline
func takesAll(s Secret, p *Secret, o outer, a AppOptions, text []byte, word string, key *rsa.PrivateKey, block <-chan struct{}) int {
	if block != nil {
		<-block
	}
	panic(fmt.Sprint("in the call ", s, p, o, a, len(text), len(word), key != nil))
}

// takesArray does what no code of this package may: a traceback prints it.
//
//go:noinline
func takesArray(a [len(theToken)]byte) int { panic(fmt.Sprint("in the call ", a[0])) }

// panicAsChild panics with credentials in many places.
func panicAsChild(part string) {
	_ = syscall.Setrlimit(syscall.RLIMIT_CORE, &syscall.Rlimit{})
	secret := NewSecret(theToken)
	options, text := appOptions(), []byte(strings.Clone(theToken))
	all := outer{inner{secret}, []Secret{secret}, File("/x")}
	ctx := context.Background()
	switch part {
	case "secret":
		panic(secret)
	case "pointer":
		panic(&secret)
	case "struct":
		panic(all)
	case "struct in words":
		var words strings.Builder
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%d"} {
			fmt.Fprintf(&words, verb, all)
		}
		panic(words.String())
	case "options":
		panic(options)
	case "error":
		_, err := parse([]byte(theToken + "\n" + theToken))
		panic(err)
	case "arguments":
		takesAll(secret, &secret, all, options, text, string(text), nil, nil)
	case "other goroutine":
		go takesAll(secret, &secret, all, options, text, string(text), nil, make(chan struct{}))
		panic("elsewhere")
	case "file":
		_, _ = readText(panicReader{strings.NewReader(theToken)}, "token")
	case "program":
		_, _ = (&capped{room: 20, full: func() { panic("in the reading") }}).ReadFrom(strings.NewReader(theToken))
	case "app":
		_, _ = GitHubApp(options).Load(ctx)
	case "oauth":
		_, _ = OAuthClient(OAuthOptions{Doer: panicDoer{}, URL: "https://x/", ID: "1", Secret: Env("DEPLOYKEYD_TEST_TOKEN")}).Load(ctx)
	case "array":
		takesArray([len(theToken)]byte(text))
	}
	os.Exit(9)
}

// TestG8PanicsShowNoCredential lets another process panic while it holds
// credentials, and reads all that it says.
func TestG8PanicsShowNoCredential(t *testing.T) {
	key := testKey()
	pemText := string(pkcs1PEM(key))
	for _, part := range []string{
		"secret", "pointer", "struct", "struct in words", "options", "error", "arguments", "other goroutine", "file", "program", "app", "oauth", "array",
	} {
		for _, level := range []string{"all", "crash"} {
			t.Run(part+" "+level, func(t *testing.T) {
				cmd := child(t, part, "GOTRACEBACK="+level, "DEPLOYKEYD_TEST_KEY="+pemText, "DEPLOYKEYD_TEST_TOKEN="+theToken)
				out, err := cmd.CombinedOutput()
				text := string(out)
				if err == nil || !strings.Contains(text, "panic: ") || !strings.Contains(text, "goroutine ") || cmd.ProcessState.ExitCode() == 9 {
					t.Fatalf("no panic: %v\n%s", err, text)
				}
				if part == "array" { // so that a leak would be seen
					if leaks(text, theToken) == "" {
						t.Errorf("a leak is not found:\n%s", text)
					}
					return
				}
				hidden(t, part, text, theToken, base64.StdEncoding.EncodeToString([]byte("1:"+theToken)), pemText, string(key.D.Bytes()), string(key.Primes[0].Bytes()))
			})
		}
	}
}

// TestG8EnvironmentOfProgramsHasNoOtherCredential looks at what a program gets.
func TestG8EnvironmentOfProgramsHasNoOtherCredential(t *testing.T) {
	never := []string{
		"DEPLOYKEYD_TEST_OTHER", "DEPLOYKEYD_TEST_SECOND",
		"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC", "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES",
	}
	for _, name := range never {
		t.Setenv(name, theToken)
	}
	t.Setenv("DEPLOYKEYD_TEST_FINE", "fine")
	there := filepath.Join(t.TempDir(), "env")
	secret, err := Command([]string{script(t, "env >"+there+"; echo $PWD")}, 0, never[:2]...).Load(t.Context())
	if err != nil || secret.Reveal() != "/" {
		t.Errorf("gives %q, %v", secret.Reveal(), err)
	}
	text, err := os.ReadFile(there)
	if err != nil || !strings.Contains(string(text), "DEPLOYKEYD_TEST_FINE=fine\n") {
		t.Fatalf("the program got %s, %v", text, err)
	}
	for _, name := range never {
		if strings.Contains(string(text), name) {
			t.Errorf("the program got %s", name)
		}
	}
	hidden(t, "the environment", string(text), theToken)
}
