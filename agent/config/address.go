package config

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strings"

	"deploykeyd/provision"
)

// readURL reads a forge's address into its canonical form, which is the forge's
// identity in the journal.
func readURL(w *walk, v value, d *forgeDraft) {
	const fix = "write the address as https://git.example.com"
	s, ok := w.text(v, fix)
	if !ok {
		return
	}
	if strings.Contains(s, "@") {
		w.hide(v.node) // a password may stand before it
	}
	u, err := url.Parse(s)
	if err != nil {
		w.report(v, "not a URL", fix)
		return
	}
	if err := checkURL(u); err != nil {
		w.report(v, err.Error(), fix)
		return
	}
	d.URL = canonical(u)
}

// checkURL reports what is wrong with a forge's address. Its error never holds
// a part of the URL that could be a secret.
func checkURL(u *url.URL) error {
	bare := strings.TrimSuffix(u.Path, "/")
	switch {
	case u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		return errors.New("the address must begin with https:// and a host")
	case u.User != nil:
		return errors.New("the address must not hold a user or a password: those belong under credential")
	case u.RawQuery != "" || u.ForceQuery || u.Fragment != "":
		return errors.New("the address must end before any ? or #")
	case bare != "" && path.Clean(bare) != bare, strings.Contains(u.Path, "//"), u.EscapedPath() != u.Path:
		return errors.New("the address has an unusual path")
	}
	// The same rules as for SSH: they keep out all that is syntax elsewhere.
	if a, err := netip.ParseAddr(u.Hostname()); err != nil || a.Zone() != "" {
		if err := (provision.SSHAddress{User: "git", Host: u.Hostname(), Port: 22}).Check(); err != nil {
			return err
		}
	}
	if u.Scheme == "http" && !isLocal(u.Hostname()) {
		return errors.New("plain http:// would show the credential to the network: it is possible for loopback addresses, localhost and *.test only")
	}
	if p := u.Port(); p != "" {
		if _, err := netip.ParseAddrPort("127.0.0.1:" + p); err != nil || strings.Trim(p, "0") == "" {
			return fmt.Errorf("port %s is out of range", p)
		}
	}
	return nil
}

// isLocal reports whether a host can only be this machine. Names under .test
// belong to nobody (RFC 6761); that one leads to a loopback address is checked
// when it is resolved.
func isLocal(host string) bool {
	host = strings.ToLower(host)
	if a, err := netip.ParseAddr(host); err == nil {
		return a.IsLoopback()
	}
	return host == "localhost" || strings.HasSuffix(host, ".test")
}

// canonical returns u with a lower-case host, without its scheme's own port and
// without a slash at the end.
func canonical(u *url.URL) string {
	host := strings.ToLower(u.Host)
	switch u.Scheme {
	case "https":
		host = strings.TrimSuffix(host, ":443")
	case "http":
		host = strings.TrimSuffix(host, ":80")
	}
	return u.Scheme + "://" + strings.TrimSuffix(host, ":") + strings.TrimSuffix(u.Path, "/")
}

// hostOf returns the host of a canonical URL.
func hostOf(canonical string) string {
	u, err := url.Parse(canonical)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// checkHosted refuses an address that belongs to a hosted service's web pages,
// and one of the reader's own for a service that is hosted only.
func (w *walk) checkHosted(at value, d *forgeDraft) {
	hosted := provision.TraitsOf(d.Kind).DefaultURL
	if d.URL == "" || hosted == "" || d.URL == hosted {
		return
	}
	host := hostOf(d.URL)
	pages := []string{"github.com", "www.github.com", "api.github.com", "bitbucket.org", "www.bitbucket.org", "api.bitbucket.org"}
	switch {
	case slices.Contains(pages, host):
		w.report(at, "this is not where the API answers", "leave url out, or write "+hosted)
	case d.Kind == provision.BitbucketCloud && !isLocal(host):
		w.report(at, "Bitbucket Cloud is at "+hosted+" only",
			"leave url out; a server of your own is Bitbucket Data Center, which comes with a later release")
	}
}

func readSSH(w *walk, v value, d *forgeDraft) {
	const fix = "write the address as ssh://git@host:port"
	s, ok := w.text(v, fix)
	if !ok {
		return
	}
	a, err := provision.ParseSSHAddress(s)
	if err != nil {
		if user, _, ok := strings.Cut(strings.TrimPrefix(s, "ssh://"), "@"); ok && strings.Contains(user, ":") {
			w.hide(v.node) // a password may stand before the @
		}
		w.report(v, err.Error(), fix)
		return
	}
	a.Host = strings.ToLower(a.Host)
	d.SSH = a
}

// hostKeyTypes are the types of host keys that are worth a pin.
func hostKeyTypes() []string {
	return []string{"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"}
}

func readHostKeys(w *walk, v value, d *forgeDraft) {
	const fix = `write a list of lines such as "ssh-ed25519 AAAA…", as in the server's /etc/ssh/ssh_host_ed25519_key.pub`
	for _, entry := range w.list(v, fix) {
		s, ok := w.text(entry, fix)
		if !ok {
			continue
		}
		k, err := provision.ParsePublicKey(s)
		switch {
		case strings.Contains(s, "PRIVATE KEY"):
			w.hide(entry.node)
			w.report(entry, "a private key must not stand in the configuration", fix)
		case err != nil:
			w.report(entry, err.Error(), fix)
		case !slices.Contains(hostKeyTypes(), k.Type()):
			w.report(entry, quote(k.Type())+" is no type of host key", "use one of "+strings.Join(hostKeyTypes(), ", "))
		case slices.Contains(d.HostKeys, k):
			w.report(entry, "the same host key a second time", "remove one of the two")
		default:
			d.HostKeys = append(d.HostKeys, k)
		}
	}
}
