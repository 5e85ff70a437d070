package forgesim

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"time"

	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
)

// handshakeTimeout bounds a connection until its user is known.
const handshakeTimeout = 30 * time.Second

// blobExtension carries the wire form of the key that a connection logged in
// with.
const blobExtension = "blob"

// errUnknownKey is the answer to a key that the forge does not know, and to
// every other user name than git.
var errUnknownKey = errors.New("unknown key")

// serveSSH admits connections on l until Close.
func (f *Forge) serveSSH(l net.Listener) {
	config := &ssh.ServerConfig{
		ServerVersion:     "SSH-2.0-forgesim",
		PublicKeyCallback: f.admitKey,
		// As OpenSSH has it since 8.8: no RSA signatures with SHA-1.
		PublicKeyAuthAlgorithms: []string{
			ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
			ssh.KeyAlgoRSASHA256, ssh.KeyAlgoRSASHA512,
		},
	}
	config.AddHostKey(f.hostKey.signer)
	for {
		conn, err := l.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				f.logger.ErrorContext(f.sim.running, "ssh listener ended", slog.Any("error", err))
			}
			return
		}
		f.sim.tasks.Go(func() { f.connection(f.sim.running, conn, config) })
	}
}

// connection serves one SSH connection to its end.
func (f *Forge) connection(running context.Context, conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	stop := context.AfterFunc(running, func() { _ = conn.Close() })
	defer stop()
	if x := f.fateOfConnection(); x.Name == CutBefore {
		return
	}
	_ = conn.SetDeadline(time.Now().Add(handshakeTimeout))
	shell, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		f.logger.DebugContext(running, "ssh login failed", slog.Any("error", err))
		return
	}
	_ = conn.SetDeadline(time.Time{})
	key, err := provision.PublicKeyFromBlob([]byte(shell.Permissions.Extensions[blobExtension]))
	if err != nil {
		return // admitKey has put a key there
	}
	ctx, cancel := context.WithCancel(running)
	f.sim.tasks.Go(func() { ssh.DiscardRequests(requests) })
	for channel := range channels {
		if channel.ChannelType() != "session" {
			_ = channel.Reject(ssh.UnknownChannelType, "only sessions are served")
			continue
		}
		c, requests, err := channel.Accept()
		if err != nil {
			break
		}
		s := &session{forge: f, channel: c, key: key, hangup: cancelOf(conn)}
		f.sim.tasks.Go(func() { s.serve(ctx, requests) })
	}
	cancel() // the client has gone: so do its commands
}

func cancelOf(conn net.Conn) func() { return func() { _ = conn.Close() } }

// admitKey lets exactly the registered keys in, as the user git.
func (f *Forge) admitKey(conn ssh.ConnMetadata, key ssh.PublicKey) (*ssh.Permissions, error) {
	public, err := provision.PublicKeyFromBlob(key.Marshal())
	if err != nil || conn.User() != f.ssh.User {
		return nil, errUnknownKey
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, k := range f.store.keys {
		if k.row.key == public && f.takenUp(k) {
			return &ssh.Permissions{Extensions: map[string]string{blobExtension: string(public.Blob())}}, nil
		}
	}
	return nil, errUnknownKey
}

// takenUp reports whether the SSH side knows a registration, yet and still.
// f.mu is held.
func (f *Forge) takenUp(k *deployKey) bool {
	if k.dead {
		return false
	}
	delay := f.uptake(k.repository.path)
	return delay == 0 || time.Since(k.registered) >= delay
}

// fateOfConnection decides about a connection whose repository is not known
// yet: only faults that cut it apply.
func (f *Forge) fateOfConnection() fate {
	return f.fateAmong(OpSSH, "", func(n FaultName) bool { return n == CutBefore })
}

// fateOfCommand decides about a command.
func (f *Forge) fateOfCommand(repository string) fate {
	return f.fateAmong(OpSSH, repository, func(n FaultName) bool { return n != CutBefore })
}
