package hostkey_test

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/crypto/ssh"

	"deploykeyd/provision"
	"deploykeyd/provision/hostkey"
)

func line(tb testing.TB, public any) string {
	tb.Helper()
	k, err := ssh.NewPublicKey(public)
	if err != nil {
		tb.Fatal(err)
	}
	return strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k)))
}

func ed25519Line(tb testing.TB) string {
	tb.Helper()
	public, _, err := ed25519.GenerateKey(nil)
	if err != nil {
		tb.Fatal(err)
	}
	return line(tb, public)
}

// The fingerprints are those that the services' own pages show.
func TestBuiltInPinsHaveThePublishedFingerprints(t *testing.T) {
	github := []string{
		"SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU",
		"SHA256:p2QAMXNIC1TJYWeIOttrVc98/R1BUFWu3/LiyKgUfQM",
		"SHA256:uNiVztksCsDhcc0u9e8BujQXVUpKZIDTMczCvj3tD2s",
	}
	bitbucket := []string{
		"SHA256:ybgmFkzwOSotHTHLJgHO0QN8L0xErw6vd0VhFA9m3SM",
		"SHA256:FC73VB6C4OQLSCrjEayhMp9UMxS97caD/Yyi2bhW/J0",
		"SHA256:46OSHA1Rmj8E8ERTC6xkNcmGOw9oFxYr0WF6zWW8l1E",
	}
	gitlab := []string{
		"SHA256:eUXGGm1YGsMAS7vkcx6JOJdOGHPem5gQp4taiCfCLB8",
		"SHA256:HbW3g8zUjNSksFbqTiUWPWg2Bq1x8xdGUrliXFzSnUw",
		"SHA256:ROQFvPThGrW4RuWLoL9tq9I9zJ42fK4XywyRtbOz/EQ",
	}
	for host, want := range map[string][]string{
		"github.com": github, "GitHub.com": github, "ssh.github.com": github,
		"bitbucket.org": bitbucket, "altssh.bitbucket.org": bitbucket,
		"gitlab.com": gitlab,
		"gitea.test": nil, "": nil, "api.github.com": nil, "github.com.evil.test": nil,
	} {
		var got []string
		for _, p := range hostkey.BuiltIn(host) {
			got = append(got, p.Key.Fingerprint())
			if !strings.HasPrefix(p.Source, "https://") {
				t.Errorf("%s: source %q is no address", host, p.Source)
			}
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", host, diff)
		}
	}
}

func TestParseTakesWhatAServerMayShow(t *testing.T) {
	curve := func(c elliptic.Curve) string {
		k, err := ecdsa.GenerateKey(c, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		return line(t, &k.PublicKey)
	}
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ed := ed25519Line(t)
	for name, in := range map[string]string{
		"ed25519": ed, "p256": curve(elliptic.P256()), "p384": curve(elliptic.P384()), "p521": curve(elliptic.P521()),
		"rsa": line(t, &r.PublicKey), "comment": ed + " root@forge", "blanks": "  " + ed + "\n",
	} {
		p, err := hostkey.Parse(in)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if f := strings.Fields(in); p.Key.String() != f[0]+" "+f[1] || p.Source != hostkey.Configured {
			t.Errorf("%s: got %+v", name, p)
		}
	}
}

func TestParseRefuses(t *testing.T) {
	ed := ed25519Line(t)
	short, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	blob := func(typ string, rest ...byte) string {
		b := append([]byte{0, 0, 0, byte(len(typ))}, typ...)
		return typ + " " + base64.StdEncoding.EncodeToString(append(b, rest...))
	}
	for name, c := range map[string]struct{ line, want string }{
		"empty":            {"", "one line"},
		"type alone":       {"ssh-ed25519", "one line"},
		"bad base64":       {"ssh-ed25519 AAAA*", "base64"},
		"two lines":        {ed + "\n" + ed, "one line"},
		"host in front":    {"git.acme.example " + ed, "leave it out"},
		"known_hosts mark": {"@cert-authority * " + ed, "host key"},
		"type outside":     {"ssh-rsa " + strings.Fields(ed)[1], "inside"},
		"dsa":              {blob("ssh-dss", 0, 0, 0, 1, 1), "not supported"},
		"security key":     {blob("sk-ssh-ed25519@openssh.com", 0, 0, 0, 1, 1), "not supported"},
		"certificate":      {blob("ssh-ed25519-cert-v01@openssh.com", 0, 0, 0, 1, 1), "not supported"},
		"short ed25519":    {blob("ssh-ed25519", 0, 0, 0, 1, 1), "well-formed"},
		"trailing bytes":   {blob("ssh-ed25519", append(append([]byte{0, 0, 0, 32}, make([]byte, 32)...), 7)...), "well-formed"},
		"short rsa":        {line(t, &short.PublicKey), "2048"},
		"too long":         {"ssh-rsa " + strings.Repeat("A", 40000), "too long"},
	} {
		if _, err := hostkey.Parse(c.line); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want an error with %q", name, err, c.want)
		}
	}
}

// Keys that their owners withdrew and that copied lists still carry.
func TestParseRefusesRetiredKeys(t *testing.T) {
	for name, in := range map[string]string{
		"github rsa":    "ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEAq2A7hRGmdnm9tUDbO9IDSwBK6TbQa+PXYPCPy6rbTrTtw7PHkccKrpp0yVhp5HdEIcKr6pLlVDBfOLX9QUsyCOV0wzfjIJNlGEYsdlLJizHhbn2mUjvSAHQqZETYP81eFzLQNnPHt4EVVUh7VfDESU84KezmD5QlWpXLmvU31/yMf+Se8xhHTvKSCZIFImWwoG6mbUoWf9nzpIoaSjB+weqqUUmpaaasXVal72J+UX2B+2RPW3RcT0eOzQgqlJL3RKrTJvdsjE3JEAvGq3lGHSZXy28G3skua2SmVi/w4yCE6gbODqnTWlg7+wC604ydGXA8VJiS5ap43JXiUFFAaQ==",
		"bitbucket rsa": "ssh-rsa AAAAB3NzaC1yc2EAAAABIwAAAQEAubiN81eDcafrgMeLzaFPsw2kNvEcqTKl/VqLat/MaB33pZy0y3rJZtnqwR2qOOvbwKZYKiEO1O6VqNEBxKvJJelCq0dTXWT5pbO2gDXC6h6QDXCaHo6pOHGPUy+YBaGQRGuSusMEASYiWunYN0vCAI8QaXnWMXNMdFP3jHAJH0eDsoiGnLPBlBp4TNm6rYI74nMzgz3B9IikW4WVK+dc8KZJZWYjAuORU3jc1c/NPskD2ASinf8v3xnfXeukU0sJ5N6m5E8VLjObPEO+mN2t/FZTMZLiFqPWc/ALSqnMnnhwrNi2rbfg/rd/IpL8Le3pSBne8+seeFVBoGqzHM9yXw==",
		"github dsa":    "ssh-dss AAAAB3NzaC1kc3MAAACBANGFW2P9xlGU3zWrymJgI/lKo//ZW2WfVtmbsUZJ5uyKArtlQOT2+WRhcg4979aFxgKdcsqAYW3/LS1T2km3jYW/vr4Uzn+dXWODVk5VlUiZ1HFOHf6s6ITcZvjvdbp6ZbpM+DuJT7Bw+h5Fx8Qt8I16oCZYmAPJRtu46o9C2zk1AAAAFQC4gdFGcSbp5Gr0Wd5Ay/jtcldMewAAAIATTgn4sY4Nem/FQE+XJlyUQptPWMem5fwOcWtSXiTKaaN0lkk2p2snz+EJvAGXGq9dTSWHyLJSM2W6ZdQDqWJ1k+cL8CARAqL+UMwF84CR0m3hj+wtVGD/J4G5kW2DBAf4/bqzP4469lT+dF2FRQ2L9JKXrCWcnhMtJUvua8dvnwAAAIB6C4nQfAA7x8oLta6tT+oCk2WQcydNsyugE8vLrHlogoWEicla6cWPk7oXSspbzUcfkjN3Qa6e74PhRkc7JdSdAlFzU3m7LMkXo1MHgkqNX8glxWNVqBSc0YRdbFdTkL0C6gtpklilhvuHQCdbgB3LBAikcRkDp+FCVkUgPC/7Rw==",
	} {
		_, err := hostkey.Parse(in)
		if !errors.Is(err, hostkey.ErrRetired) {
			t.Errorf("%s: got %v, want ErrRetired", name, err)
		}
	}
}

func TestMatchComparesEveryByte(t *testing.T) {
	a, errA := hostkey.Parse(ed25519Line(t))
	b, errB := hostkey.Parse(ed25519Line(t))
	if err := errors.Join(errA, errB); err != nil {
		t.Fatal(err)
	}
	pins := []hostkey.Pin{a, b, {}}
	flipped := b.Key.Blob()
	flipped[len(flipped)-1] ^= 1
	for name, c := range map[string]struct {
		blob []byte
		want bool
	}{
		"first": {a.Key.Blob(), true}, "second": {b.Key.Blob(), true}, "one bit": {flipped, false},
		"prefix": {a.Key.Blob()[:20], false}, "longer": {append(a.Key.Blob(), 0), false}, "empty": {nil, false},
	} {
		if got := hostkey.Match(pins, c.blob); got != c.want {
			t.Errorf("%s: got %v", name, got)
		}
	}
	if hostkey.Match(nil, a.Key.Blob()) {
		t.Error("no pins matched a key")
	}
}

func TestLinesAreKnownHostsLines(t *testing.T) {
	p, err := hostkey.Parse(ed25519Line(t))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		port int
		want string
	}{{22, "git.acme.example"}, {2222, "[git.acme.example]:2222"}} {
		a := provision.SSHAddress{User: "git", Host: "git.acme.example", Port: c.port}
		got := hostkey.Lines(a, []hostkey.Pin{p})
		if diff := cmp.Diff([]string{c.want + " " + p.Key.String()}, got); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		_, hosts, key, _, rest, err := ssh.ParseKnownHosts([]byte(got[0]))
		if err != nil || len(rest) != 0 || !bytes.Equal(key.Marshal(), p.Key.Blob()) || hosts[0] != c.want {
			t.Errorf("%q: hosts %v, rest %q, %v", got[0], hosts, rest, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(ed25519Line(f))
	f.Add("host " + ed25519Line(f))
	f.Add("ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQ==")
	f.Add("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIazEu89wgQZ4bqs3d63QSMzYVa0MuJ2e2gKTKqu+UUO comment")
	f.Add("\x00\n")
	f.Fuzz(func(t *testing.T, in string) {
		p, err := hostkey.Parse(in)
		if err != nil {
			return
		}
		out := p.Key.String()
		if strings.ContainsAny(out, "\r\n") || len(strings.Fields(out)) != 2 {
			t.Fatalf("%q is not one line of two words", out)
		}
		again, err := hostkey.Parse(out)
		if err != nil || again != p {
			t.Fatalf("%q does not read back: %v", out, err)
		}
		if !hostkey.Match([]hostkey.Pin{p}, p.Key.Blob()) {
			t.Fatal("a pin does not match its own key")
		}
	})
}
