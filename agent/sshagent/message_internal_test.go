package sshagent

import (
	"bytes"
	"crypto/rsa"
	"math/big"
	"testing"

	"golang.org/x/crypto/ssh"
)

// The longest login that an honest client has signed, by the count in maxMessage's
// comment: there is room for twice as much.
func TestTheLongestHonestMessageIsShort(t *testing.T) {
	n := new(big.Int).SetBytes(bytes.Repeat([]byte{0xff}, 16384/8))
	large, err := ssh.NewPublicKey(&rsa.PublicKey{N: n, E: 65537})
	if err != nil {
		t.Fatal(err)
	}
	host := &ssh.Certificate{
		Nonce: make([]byte, 32), Key: large, CertType: ssh.HostCert, KeyId: "git.example.com", ValidPrincipals: []string{"git.example.com"},
		SignatureKey: large, Signature: &ssh.Signature{Format: ssh.KeyAlgoRSASHA512, Blob: make([]byte, 16384/8)},
	}
	if got := len(large.Marshal()); got != 2071 {
		t.Errorf("a key has %d bytes", got)
	}
	if got := len(host.Marshal()); got < 6300 || got > 6500 {
		t.Errorf("a certificate has %d bytes", got)
	}
	request := appendString([]byte{msgSignRequest}, large.Marshal())
	request = append(appendString(request, loginData(large.Marshal(), methodHostbound, host.Marshal())), 0, 0, 0, flagSHA512)
	if got := len(request); got < 10_000 || got > 11_000 || got > maxMessage/2 {
		t.Errorf("the message has %d bytes", got)
	}
}
