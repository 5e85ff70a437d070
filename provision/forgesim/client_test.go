package forgesim_test

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

// client is a user with a key file and pinned host keys.
type client struct {
	dir    string
	public provision.PublicKey
}

// newKey makes a keypair.
func newKey(t *testing.T) (provision.PublicKey, ed25519.PrivateKey) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		t.Fatal(err)
	}
	public, err := provision.PublicKeyFromBlob(signer.PublicKey().Marshal())
	if err != nil {
		t.Fatal(err)
	}
	return public, private
}

// newPublic makes the public half of a keypair that nobody needs.
func newPublic(t *testing.T) provision.PublicKey {
	t.Helper()
	public, _ := newKey(t)
	return public
}

// newClient makes a key file that real OpenSSH reads.
func newClient(t *testing.T) client {
	t.Helper()
	public, private := newKey(t)
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatal(err)
	}
	c := client{dir: t.TempDir(), public: public}
	if err := os.WriteFile(filepath.Join(c.dir, "key"), pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	return c
}

// run runs a program with the client's key and nothing of the user's own.
func (c client) run(t *testing.T, f *forgesim.Forge, args ...string) (string, error) {
	t.Helper()
	hosts := filepath.Join(c.dir, "known_hosts")
	line := f.SSH().KnownHost() + " " + f.HostKeys()[0] + "\n"
	if err := os.WriteFile(hosts, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	options := []string{
		"-F", "none", "-i", filepath.Join(c.dir, "key"), "-o", "IdentitiesOnly=yes", "-o", "IdentityAgent=none", "-o", "BatchMode=yes",
		"-o", "StrictHostKeyChecking=yes", "-o", "UserKnownHostsFile=" + hosts, "-o", "GlobalKnownHostsFile=none",
	}
	if args[0] == "ssh" {
		args = append(append([]string{"ssh"}, options...), args[1:]...)
	}
	cmd := exec.CommandContext(t.Context(), args[0], args[1:]...)
	cmd.Dir = c.dir
	cmd.Env = []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + c.dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1",
		"GIT_AUTHOR_NAME=a", "GIT_AUTHOR_EMAIL=a@example.invalid", "GIT_COMMITTER_NAME=a", "GIT_COMMITTER_EMAIL=a@example.invalid",
		"GIT_SSH_COMMAND=ssh " + strings.Join(options, " "),
	}
	out, err := cmd.CombinedOutput()
	return string(out), err
}

// exitStatus returns the exit status that a run ended with.
func exitStatus(t *testing.T, err error) int {
	t.Helper()
	if err == nil {
		return 0
	}
	e, ok := errors.AsType[*exec.ExitError](err)
	if !ok {
		t.Fatal(err)
	}
	return e.ExitCode()
}
