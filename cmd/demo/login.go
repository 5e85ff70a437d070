//go:build linux

package main

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"net"
	"strconv"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"deploykeyd/agent/key/keyscan"
	"deploykeyd/provision"
)

// logins tries every key that was found in memory on the SSH of its forge, as
// one who had stolen it would, and checks that all get in, or that none does.
func (d *demo) logins(ctx context.Context, want bool) error {
	state, err := d.state(ctx)
	if err != nil {
		return err
	}
	for _, r := range d.status.Repositories {
		address, err := provision.ParseSSHAddress(state.Forges[r.Kind].SSH)
		if err != nil {
			return err
		}
		secret := d.secretOf(r.Fingerprint)
		if secret == nil {
			return fmt.Errorf("no private key for %s", r.Fingerprint)
		}
		switch err := login(ctx, address, secret); {
		case want && err != nil:
			return fmt.Errorf("%s: %w", r.Repository, err)
		case !want && err == nil:
			return fmt.Errorf("%s on %s: the key still opens SSH", r.Repository, r.Forge)
		case !want && !strings.Contains(err.Error(), "unable to authenticate"):
			return fmt.Errorf("%s: refused for another reason: %w", r.Repository, err)
		}
	}
	return nil
}

func (d *demo) secretOf(fingerprint string) *keyscan.Secret {
	for public, secret := range d.secrets {
		if public.Fingerprint() == fingerprint {
			return secret
		}
	}
	return nil
}

func login(ctx context.Context, a provision.SSHAddress, secret *keyscan.Secret) error {
	signer, err := ssh.NewSignerFromSigner(ed25519.NewKeyFromSeed(secret.Raw()))
	if err != nil {
		return err
	}
	known, err := knownhosts.New(knownHosts)
	if err != nil {
		return err
	}
	address := net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
	conn, err := (&net.Dialer{}).DialContext(ctx, "tcp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	client, _, _, err := ssh.NewClientConn(conn, address, &ssh.ClientConfig{
		User: a.User, Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)}, HostKeyCallback: known,
	})
	if err != nil {
		return err
	}
	return client.Close()
}
