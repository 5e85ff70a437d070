package forgesim

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
)

// hostKey is a forge's own SSH key. Nothing that it could protect is behind it.
type hostKey struct {
	private ed25519.PrivateKey
	signer  ssh.Signer
	public  provision.PublicKey
}

func newHostKey() (hostKey, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return hostKey{}, err
	}
	return hostKeyFrom(private)
}

func hostKeyFrom(private ed25519.PrivateKey) (hostKey, error) {
	signer, err := ssh.NewSignerFromSigner(private)
	if err != nil {
		return hostKey{}, err
	}
	public, err := provision.PublicKeyFromBlob(signer.PublicKey().Marshal())
	if err != nil {
		return hostKey{}, err
	}
	return hostKey{private, signer, public}, nil
}

// keepHostKey uses the host key that is in the forge's folder, or puts the new
// one there, so that pins outlive a run with a folder of its own.
func (f *Forge) keepHostKey() error {
	path := filepath.Join(f.dir, "ssh_host_ed25519_key")
	text, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		block, err := ssh.MarshalPrivateKey(f.hostKey.private, "")
		if err != nil {
			return err
		}
		return os.WriteFile(path, pem.EncodeToMemory(block), 0o600)
	}
	if err != nil {
		return err
	}
	key, err := ssh.ParseRawPrivateKey(text)
	if err != nil {
		return err
	}
	private, ok := key.(*ed25519.PrivateKey)
	if !ok {
		return errors.New(path + " is no ed25519 key: remove it")
	}
	f.hostKey, err = hostKeyFrom(*private)
	return err
}
