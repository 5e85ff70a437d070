package hostkey

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
)

// Configured is the Source of pins that Parse returns.
const Configured = "configuration"

// minRSABits is the shortest RSA host key that may be pinned. All hosted
// services use at least that much.
const minRSABits = 2048

// ErrRetired is in the chain of Parse's error for a host key that its owner has
// withdrawn, mostly because its private half became known to others.
var ErrRetired = errors.New("retired host key")

// Pin is a host key that a forge may show.
type Pin struct {
	Key    provision.PublicKey
	Source string // who vouches for it: Configured, or the address of the owner's page
}

// Parse reads a pin as the configuration holds it: one line of a key type and
// base64, and, ignored, a comment. A key that no server should show any more is
// refused: the error of a withdrawn one wraps ErrRetired.
func Parse(line string) (Pin, error) {
	if fields := strings.Fields(line); len(fields) > 2 && !isHostKeyType(fields[0]) && isHostKeyType(fields[1]) {
		return Pin{}, fmt.Errorf("host key has the host name %.64q in front: leave it out and begin with %s", fields[0], fields[1])
	}
	k, err := provision.ParsePublicKey(line)
	if err != nil {
		return Pin{}, fmt.Errorf("host key: %w: write it like %q", err, "ssh-ed25519 AAAA…")
	}
	if retired := retiredBy(k.Fingerprint()); retired != "" {
		return Pin{}, fmt.Errorf("%w %s: %s: take the current key from the forge's own page", ErrRetired, k.Fingerprint(), retired)
	}
	if err := check(k); err != nil {
		return Pin{}, err
	}
	return Pin{Key: k, Source: Configured}, nil
}

// hostKeyTypes are the types that may be pinned, as they stand in a key's wire form.
func hostKeyTypes() []string {
	return []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521, ssh.KeyAlgoRSA,
	}
}

func isHostKeyType(s string) bool { return slices.Contains(hostKeyTypes(), s) }

// check refuses what is no sound host key. It insists on the canonical wire
// form because pins are compared byte by byte: any other would never match.
func check(k provision.PublicKey) error {
	if !isHostKeyType(k.Type()) {
		return fmt.Errorf("host key type %s is not supported: pin one of %s", k.Type(), strings.Join(hostKeyTypes(), ", "))
	}
	blob := k.Blob()
	parsed, err := ssh.ParsePublicKey(blob)
	if err != nil || !bytes.Equal(parsed.Marshal(), blob) {
		return fmt.Errorf("host key is not a well-formed %s key: copy it again from the forge's own page", k.Type())
	}
	if bits := rsaBits(parsed); bits != 0 && bits < minRSABits {
		return fmt.Errorf("host key has %d RSA bits: pin one with %d or more, or the forge's ed25519 key", bits, minRSABits)
	}
	return nil
}

// Match reports whether blob, a host key in wire form, is one of the pins. Every
// byte counts.
func Match(pins []Pin, blob []byte) bool {
	return slices.ContainsFunc(pins, func(p Pin) bool {
		return !p.Key.IsZero() && bytes.Equal(p.Key.Blob(), blob)
	})
}

// Lines returns one line of a known_hosts file for each pin, without newlines.
func Lines(a provision.SSHAddress, pins []Pin) []string {
	lines := make([]string, 0, len(pins))
	for _, p := range pins {
		lines = append(lines, a.KnownHost()+" "+p.Key.String())
	}
	return lines
}
