package main_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io/fs"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// The steps and programs of user-data, run against stand-ins for the clouds and
// their secret stores.

const (
	storedSecret  = "stored-secret-6f1c" // what every store holds
	identityToken = "identity-token-9a2b"
)

// metadataIdentity answers as the metadata services that give out tokens do.
func metadataIdentity(w http.ResponseWriter, r *http.Request) {
	token := `{"access_token":"` + identityToken + `","expires_in":3599,"token_type":"Bearer"}`
	switch {
	case r.URL.Path == "/computeMetadata/v1/instance/service-accounts/default/token" && r.Header.Get("Metadata-Flavor") == "Google",
		r.URL.Path == "/metadata/identity/oauth2/token" && r.Header.Get("Metadata") == "true" &&
			r.URL.Query().Get("api-version") == "2018-02-01" && r.URL.Query().Get("resource") == "https://vault.azure.net":
		_, _ = fmt.Fprint(w, token)
	default:
		w.WriteHeader(http.StatusForbidden)
	}
}

// stores answers as the REST interfaces of the secret stores do.
type stores struct{ secret string }

func (s stores) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != "Bearer "+identityToken {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	switch r.Host + r.URL.RequestURI() {
	case "secretmanager.googleapis.com/v1/projects/acme-ci/secrets/deploykeyd-bitbucket/versions/latest:access":
		_, _ = fmt.Fprintf(w, `{"name":"projects/1/secrets/deploykeyd-bitbucket/versions/3","payload":{"data":%q}}`,
			base64.StdEncoding.EncodeToString([]byte(s.secret)))
	case "acme-ci.vault.azure.net/secrets/deploykeyd-github?api-version=7.4":
		_, _ = fmt.Fprintf(w, `{"value":%q,"id":"https://acme-ci.vault.azure.net/secrets/deploykeyd-github/1","attributes":{"enabled":true}}`, s.secret)
	default:
		w.WriteHeader(http.StatusNotFound)
	}
}

// machineRoom is where a step of root runs: a network with the stand-ins, and
// folders of its own in the place of /etc, /tmp and others.
type machineRoom struct {
	net network
	dir string
}

// roomFolders are the folders that are the room's own. The last one may hide
// where the room is.
func roomFolders() []string { return []string{"etc", "var/tmp", "root", "run", "tmp"} }

func newMachineRoom(t *testing.T, secret string) machineRoom {
	t.Helper()
	m := machineRoom{newNetwork(t), t.TempDir()}
	for _, folder := range append(roomFolders(), "etc/bin") {
		if err := os.MkdirAll(filepath.Join(m.dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	m.net.address(t, "lo", "169.254.169.254/32 203.0.113.10/32")
	certificate, authority := storeCertificate(t)
	m.put(t, "etc/authority.pem", string(authority), 0o644)
	m.put(t, "etc/hosts", "203.0.113.10 secretmanager.googleapis.com acme-ci.vault.azure.net\n", 0o644)
	m.put(t, "etc/passwd", "root:x:0:0::/root:/bin/sh\n", 0o644)
	m.put(t, "etc/group", "root:x:0:\n", 0o644)
	m.put(t, "etc/nsswitch.conf", "hosts: files\n", 0o644)
	// What a program is given can be seen by every user.
	m.put(t, "etc/bin/curl", "#!/bin/sh\nprintf '%s\\n' \"$@\" \"$(env)\" >>/etc/given\nexec /usr/bin/curl \"$@\"\n", 0o755)
	m.put(t, "etc/bin/jq", "#!/bin/sh\nprintf '%s\\n' \"$@\" \"$(env)\" >>/etc/given\nexec /usr/bin/jq \"$@\"\n", 0o755)

	metadata := &http.Server{Handler: http.HandlerFunc(metadataIdentity)}
	l := m.net.listen(t, "169.254.169.254:80")
	go func() { _ = metadata.Serve(l) }()
	t.Cleanup(func() { _ = metadata.Close() })
	store := httptest.NewUnstartedServer(stores{secret})
	_ = store.Listener.Close()
	store.Listener = m.net.listen(t, "203.0.113.10:443")
	store.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	store.StartTLS()
	t.Cleanup(store.Close)
	return m
}

func (m machineRoom) put(t *testing.T, name, text string, mode fs.FileMode) {
	t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, mode); err != nil {
		t.Fatal(err)
	}
}

// run runs a script as root of that machine.
func (m machineRoom) run(t *testing.T, script string) (status int, said string) {
	t.Helper()
	m.put(t, "etc/bin/step", script, 0o700)
	c := m.net.command(t, append([]string{
		"unshare", "--mount", "sh", "-ec",
		`dir=$1; shift; for folder; do mount --bind "$dir/$folder" "/$folder"; done; cd /; exec /etc/bin/step`, "sh", m.dir,
	}, roomFolders()...)...)
	c.Env = []string{"PATH=/etc/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CURL_CA_BUNDLE=/etc/authority.pem", "HOME=/root", "LC_ALL=C"}
	status, stdout, stderr := finish(t, c)
	return status, stdout + stderr
}

// holders returns the files of the machine that hold a text.
func (m machineRoom) holders(t *testing.T, text string) []string {
	t.Helper()
	var found []string
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(path)
		if strings.Contains(string(content), text) {
			found = append(found, strings.TrimPrefix(path, m.dir))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// storeCertificate makes a certificate for the hosts of the stores.
func storeCertificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "stand-in"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		DNSNames: []string{"secretmanager.googleapis.com", "acme-ci.vault.azure.net"},
		IsCA:     true, BasicConstraintsValid: true,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, private.Public(), private)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: private},
		pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

// rootSteps are the examples whose credential a step of root fetches, with the
// name of the file that it becomes.
func rootSteps() map[string]string {
	return map[string]string{"gcp-secret-manager.yaml": "bitbucket", "azure-key-vault.yaml": "github"}
}

func TestRootStepsFetchTheCredential(t *testing.T) {
	t.Parallel()
	for example, name := range rootSteps() {
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			userData := userDataFiles(t)[example]
			if ref := configOf(t, example, userData).Forges[0].Token; ref.Systemd != name {
				t.Fatalf("the configuration takes its token from %+v", ref)
			}
			script := written(t, userData, "/usr/local/sbin/deploykeyd-credential").content
			m := newMachineRoom(t, storedSecret)
			for _, time := range []string{"first", "second"} { // a replaced credential is fetched again
				status, said := m.run(t, script)
				if status != 0 || said != "" {
					t.Fatalf("%s time: exit status %d: %s", time, status, said)
				}
			}
			path := "/etc/deploykeyd/credentials/" + name
			if text, err := os.ReadFile(m.dir + path); err != nil || strings.TrimSuffix(string(text), "\n") != storedSecret {
				t.Errorf("%q, %v", text, err)
			}
			wantRootAlone(t, m.dir+path, 0o600)
			wantRootAlone(t, filepath.Dir(m.dir+path), fs.ModeDir|0o700)
			if got := m.holders(t, storedSecret); len(got) != 1 || got[0] != path {
				t.Errorf("the secret is in %q", got)
			}
			if got := m.holders(t, identityToken); got != nil {
				t.Errorf("the token of the machine's identity is in %q", got)
			}
			if given, err := os.ReadFile(m.dir + "/etc/given"); err != nil || !strings.Contains(string(given), "--fail") {
				t.Errorf("what the programs were given was not kept: %q, %v", given, err)
			}
		})
	}
}

// A store that does not give the secret leaves nothing half done, and what was
// there stays.
func TestRootStepsThatFail(t *testing.T) {
	t.Parallel()
	for example, name := range rootSteps() {
		t.Run(example, func(t *testing.T) {
			t.Parallel()
			script := written(t, userDataFiles(t)[example], "/usr/local/sbin/deploykeyd-credential").content
			m := newMachineRoom(t, storedSecret)
			if status, said := m.run(t, script); status != 0 {
				t.Fatal(said)
			}
			for _, broken := range []string{
				strings.Replace(script, "deploykeyd-"+name, "no-such-secret", 1), // 404 of the store
				strings.Replace(script, "--header 'Metadata", "--header 'X", 1),  // 403 of the metadata service
				strings.Replace(script, ".access_token", ".no_token", 1),
				strings.NewReplacer(".payload.data", ".payload.nothing", "--raw-output .value", "--raw-output .nothing").Replace(script),
			} {
				if broken == script {
					t.Fatal("nothing is broken in the script")
				}
				status, said := m.run(t, broken)
				if status == 0 || strings.Contains(said, storedSecret) || strings.Contains(said, identityToken) {
					t.Errorf("exit status %d: %s", status, said)
				}
			}
			if got := m.holders(t, storedSecret); len(got) != 1 || !strings.HasSuffix(got[0], "/credentials/"+name) {
				t.Errorf("the secret is in %q", got)
			}
			if left, err := filepath.Glob(filepath.Join(m.dir, "etc/deploykeyd/.credential*")); err != nil || len(left) != 0 {
				t.Errorf("left behind: %q, %v", left, err)
			}
		})
	}
}

func wantRootAlone(t *testing.T, path string, mode fs.FileMode) {
	t.Helper()
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || stat.Uid != 0 || stat.Gid != 0 || info.Mode() != mode {
		t.Errorf("%s: mode %v of %+v", path, info.Mode(), info.Sys())
	}
}

const standInAWS = `#!/bin/sh
[ "$*" = "secretsmanager get-secret-value --region eu-central-1 --secret-id deploykeyd/github-app --query SecretString --output text" ] ||
	{ echo "stand-in aws: $*" >&2; exit 252; }
printf '%s\n' '-----BEGIN RSA PRIVATE KEY-----' ` + storedSecret + ` '-----END RSA PRIVATE KEY-----'
`

const standInVault = `#!/bin/sh
[ "$VAULT_ADDR" = https://vault.acme.example ] || { echo "VAULT_ADDR=$VAULT_ADDR" >&2; exit 2; }
case "$*" in
"login -token-only -method=aws role=deploykeyd header_value=vault.acme.example") echo ` + identityToken + ` ;;
"kv get -mount=secret -field=token deploykeyd/forge")
	[ "$VAULT_TOKEN" = ` + identityToken + ` ] || { echo 'permission denied' >&2; exit 2; }
	printf %s ` + storedSecret + ` ;;
*) echo "stand-in vault: $*" >&2; exit 1 ;;
esac
`

// The programs that deploykeyd itself runs, as a user who is not root.
func TestCommandsPrintTheCredential(t *testing.T) {
	t.Parallel()
	files := userDataFiles(t)
	for _, c := range []struct{ example, program, standIn, want string }{
		{"aws-secrets-manager.yaml", "aws", standInAWS, "-----BEGIN RSA PRIVATE KEY-----\n" + storedSecret + "\n-----END RSA PRIVATE KEY-----\n"},
		{"vault.yaml", "vault", standInVault, storedSecret},
	} {
		dir := t.TempDir()
		put := func(name, text string, mode fs.FileMode) {
			if err := os.WriteFile(filepath.Join(dir, name), []byte(text), mode); err != nil {
				t.Fatal(err)
			}
			if err := os.Chmod(filepath.Join(dir, name), mode); err != nil {
				t.Fatal(err)
			}
		}
		reachable(t, dir)
		put(c.program, c.standIn, 0o755)
		f := configOf(t, c.example, files[c.example]).Forges[0]
		argv := f.Token.Command
		if f.App != nil {
			argv = f.App.PrivateKey.Command
		}
		if path := argv[0]; filepath.IsAbs(path) {
			script := written(t, files[c.example], path)
			mode, err := strconv.ParseUint(script.mode, 8, 32)
			if err != nil {
				t.Fatal(err)
			}
			put(filepath.Base(path), script.content, fs.FileMode(mode))
			argv[0] = filepath.Join(dir, filepath.Base(path))
		}
		run := exec.CommandContext(t.Context(), "setpriv", append([]string{"--reuid", listedUser, "--regid", listedUser, "--clear-groups", "--"}, argv...)...)
		run.Dir, run.Env = "/", []string{"PATH=" + dir + ":/usr/bin:/bin"}
		status, stdout, stderr := finish(t, run)
		if status != 0 || stdout != c.want {
			t.Errorf("%s: exit status %d: %q %s", c.example, status, stdout, stderr)
		}
	}
}

// reachable lets every user into a folder of the test.
func reachable(t *testing.T, dir string) {
	t.Helper()
	for ; dir != os.TempDir() && dir != "/"; dir = filepath.Dir(dir) {
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
}
