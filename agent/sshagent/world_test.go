package sshagent_test

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/rsa"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"

	"deploykeyd/agent/key"
	"deploykeyd/agent/sshagent"
	"deploykeyd/agent/unixsock"
	"deploykeyd/provision"
	"deploykeyd/provision/hostkey"
)

// Message numbers, as draft-ietf-sshm-ssh-agent has them.
const (
	failure           = 5
	success           = 6
	listRequest       = 11
	listAnswer        = 12
	signRequest       = 13
	signAnswer        = 14
	extension         = 27
	extensionFailure  = 28
	extensionResponse = 29
)

// auditLog keeps the log of a server.
type auditLog struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *auditLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *auditLog) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(l, nil)) }

// lines returns the audit lines so far. A line is written before its reply.
func (l *auditLog) lines(t *testing.T) []map[string]any {
	t.Helper()
	l.mu.Lock()
	defer l.mu.Unlock()
	var lines []map[string]any
	for d := json.NewDecoder(bytes.NewReader(l.text.Bytes())); ; {
		var line map[string]any
		err := d.Decode(&line)
		if errors.Is(err, io.EOF) {
			return lines
		}
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, line)
	}
}

func (l *auditLog) last(t *testing.T) map[string]any {
	t.Helper()
	lines := l.lines(t)
	if len(lines) == 0 {
		t.Fatal("the log is empty")
	}
	return lines[len(lines)-1]
}

// world is a server with three forges, their host keys and keys that are lent.
type world struct {
	server *sshagent.Server
	socket string
	log    *auditLog
	stop   context.CancelFunc
	served chan error

	hosts map[string]ssh.Signer // by forge; "stranger" is pinned nowhere
	keys  map[string]*key.Key   // by a name of the test
}

func generate(t *testing.T, typ key.Type) *key.Key {
	t.Helper()
	k, err := key.Generate(typ)
	if err != nil {
		t.Fatal(err)
	}
	return k
}

func newHost(t *testing.T, private any) ssh.Signer {
	t.Helper()
	s, err := ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func edHost(t *testing.T) ssh.Signer {
	t.Helper()
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	return newHost(t, private)
}

func pins(t *testing.T, hosts ...ssh.Signer) []hostkey.Pin {
	t.Helper()
	var all []hostkey.Pin
	for _, h := range hosts {
		p, err := hostkey.Parse(string(ssh.MarshalAuthorizedKey(h.PublicKey())))
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// me is our own user, as the configuration would list it.
func me() string { return strconv.Itoa(os.Geteuid()) }

func folder(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "dkd") // short enough for a socket's path
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func address(host string, port int) provision.SSHAddress {
	return provision.SSHAddress{User: "git", Host: host, Port: port}
}

func newWorld(t *testing.T, users ...string) *world {
	t.Helper()
	w := &world{log: &auditLog{}, keys: map[string]*key.Key{}}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	w.hosts = map[string]ssh.Signer{
		"gitea": edHost(t), "gitea-rsa": newHost(t, r), "hub": edHost(t), "strict": edHost(t), "stranger": edHost(t),
	}
	forges := []sshagent.Forge{
		{Name: "gitea", Kind: provision.Gitea, SSH: address("gitea.test", 2222), HostKeys: pins(t, w.hosts["gitea"], w.hosts["gitea-rsa"])},
		{Name: "hub", Kind: provision.GitHub, SSH: address("github.test", 22), HostKeys: pins(t, w.hosts["hub"]), Bind: sshagent.BindPrefer},
		{Name: "strict", Kind: provision.BitbucketCloud, SSH: address("strict.test", 22), HostKeys: pins(t, w.hosts["strict"]), Bind: sshagent.BindRequire},
	}
	for name, typ := range map[string]key.Type{"gitea": key.Ed25519, "api": key.Ed25519, "web": key.ECDSAP256, "strict": key.ECDSAP256, "foreign": key.Ed25519} {
		w.keys[name] = generate(t, typ)
	}
	w.serve(t, forges, users...)
	w.server.Publish("gitea", "acme/api", w.keys["gitea"])
	w.server.Publish("gitea", "acme/web", w.keys["gitea"])
	w.server.Publish("hub", "acme/api", w.keys["api"])
	w.server.Publish("hub", "acme/web", w.keys["web"])
	w.server.Publish("strict", "acme/api", w.keys["strict"])
	return w
}

// lendRSA adds an RSA key, which takes long to make.
func (w *world) lendRSA(t *testing.T) {
	t.Helper()
	w.keys["rsa"] = generate(t, key.RSA3072)
	w.server.Publish("strict", "acme/rsa", w.keys["rsa"])
}

// serve starts the world's server for the listed users, by default ourselves.
func (w *world) serve(t *testing.T, forges []sshagent.Forge, users ...string) {
	t.Helper()
	if users == nil {
		users = []string{me()}
	}
	w.serveUsers(t, unixsock.NewUsers(users, nil, unixsock.Resolver{}, nil), forges)
}

func (w *world) serveUsers(t *testing.T, users *unixsock.Users, forges []sshagent.Forge) {
	t.Helper()
	dir := folder(t)
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	w.socket = filepath.Join(dir, "agent.sock")
	l, err := unixsock.Listen(w.socket, 0o666)
	if err != nil {
		t.Fatal(err)
	}
	w.server = sshagent.New(sshagent.Options{Forges: forges, Users: users, Logger: w.log.logger()})
	ctx, cancel := context.WithCancel(t.Context())
	w.stop, w.served = cancel, make(chan error, 1)
	go func() {
		w.served <- w.server.Serve(ctx, l)
		close(w.served)
	}()
	t.Cleanup(func() {
		cancel()
		if err := <-w.served; err != nil {
			t.Errorf("Serve: %v", err)
		}
	})
}

func (w *world) dial(t *testing.T) net.Conn {
	t.Helper()
	c, err := unixsock.Dial(t.Context(), w.socket)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	return c
}

// ask sends a message and returns the reply.
func ask(c net.Conn, message []byte) ([]byte, error) {
	if _, err := c.Write(str(message)); err != nil {
		return nil, err
	}
	return receive(c)
}

// receive returns the next reply.
func receive(c net.Conn) ([]byte, error) {
	var length [4]byte
	if _, err := io.ReadFull(c, length[:]); err != nil {
		return nil, err
	}
	reply := make([]byte, binary.BigEndian.Uint32(length[:]))
	_, err := io.ReadFull(c, reply)
	return reply, err
}

// str is an SSH string.
func str[T string | []byte](s T) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(s))), s...)
}

func join(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

func u32(n uint32) []byte { return binary.BigEndian.AppendUint32(nil, n) }

// login is a login request to be signed; its zero parts are filled in.
type login struct {
	session            string
	number             byte
	user               string
	service, method    string
	unsigned           bool
	algorithm          string
	key                []byte // of which the login is
	hostKey            []byte
	after              string
	asked              []byte // the key that is asked to sign, when another
	flags              uint32
	afterwards, cutOff int // of the sign request
}

const (
	plain     = "publickey"
	hostbound = "publickey-hostbound-v00@openssh.com"
)

var sessionID = string(bytes.Repeat([]byte{7}, 32))

func (l login) data() []byte {
	def := func(s, d string) string {
		if s == "" {
			return d
		}
		return s
	}
	if l.number == 0 {
		l.number = 50
	}
	signed := byte(1)
	if l.unsigned {
		signed = 0
	}
	var host []byte
	if l.hostKey != nil {
		host = str(l.hostKey)
	}
	blob := provisionKey(l.key)
	return join(str(def(l.session, sessionID)), []byte{l.number}, str(def(l.user, "git")), str(def(l.service, "ssh-connection")),
		str(def(l.method, plain)), []byte{signed}, str(def(l.algorithm, blob.Type())), str(l.key), host, []byte(l.after))
}

func provisionKey(blob []byte) provision.PublicKey {
	k, _ := provision.PublicKeyFromBlob(blob)
	return k
}

// request is the message that asks for the signature.
func (l login) request() []byte {
	asked := l.asked
	if asked == nil {
		asked = l.key
	}
	m := signMessage(asked, l.data(), l.flags)
	m = append(m, make([]byte, l.afterwards)...)
	return m[:len(m)-l.cutOff]
}

func signMessage(blob, data []byte, flags uint32) []byte {
	return join([]byte{signRequest}, str(blob), str(data), u32(flags))
}

// bind is a bind request.
type bind struct {
	host       ssh.Signer
	session    string
	signed     string // the session id that the host signs, when another
	algorithm  string
	forwarding bool
	cutOff     int
	after      string
}

func (b bind) request(t *testing.T) []byte {
	t.Helper()
	if b.session == "" {
		b.session = sessionID
	}
	if b.signed == "" {
		b.signed = b.session
	}
	if b.algorithm == "" {
		b.algorithm = b.host.PublicKey().Type()
	}
	s, err := b.host.(ssh.AlgorithmSigner).SignWithAlgorithm(rand.Reader, []byte(b.signed), b.algorithm)
	if err != nil {
		t.Fatal(err)
	}
	forwarding := byte(0)
	if b.forwarding {
		forwarding = 1
	}
	m := join([]byte{extension}, str("session-bind@openssh.com"), str(b.host.PublicKey().Marshal()),
		str(b.session), str(ssh.Marshal(s)), []byte{forwarding}, []byte(b.after))
	return m[:len(m)-b.cutOff]
}
