package config

import (
	"errors"
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
	u, err := url.Parse(s)
	if err != nil {
		w.refuseAddress(v, s, "not a URL", fix)
		return
	}
	if err := checkURL(u); err != nil {
		w.refuseAddress(v, s, err.Error(), fix)
		return
	}
	d.URL = canonical(u)
}

// mayHoldSecret reports whether s is so much like a URL that one of its parts
// may be a password or a token. Where one is pasted, it is often a clone URL.
func mayHoldSecret(s string) bool {
	return strings.ContainsAny(s, "@?#") || strings.Contains(s, "://")
}

// refuseAddress reports what is wrong with the address s at v, and keeps it out
// of the excerpts. The text must not hold a part of s.
func (w *walk) refuseAddress(v value, s, text, fix string) {
	if mayHoldSecret(s) {
		w.hide(v.node)
	}
	w.report(v, text, fix)
}

// checkURL reports what is wrong with a forge's address. Its error holds no part
// of the URL: any could be a secret.
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
		if (provision.SSHAddress{User: "git", Host: u.Hostname(), Port: 22}).Check() != nil {
			return errors.New("the host may have only letters, digits, dots and dashes, and begins with a letter or a digit")
		}
	}
	if u.Scheme == "http" && !isLocal(u.Hostname()) {
		return errors.New("plain http:// would show the credential to the network: it is possible for loopback addresses, localhost and *.test only")
	}
	if p := u.Port(); p != "" {
		if _, err := netip.ParseAddrPort("127.0.0.1:" + p); err != nil || strings.Trim(p, "0") == "" {
			return errors.New("the port is out of range")
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

// apiRoot returns the path that the forge's API adds to its address.
func apiRoot(k provision.Kind) string {
	switch k {
	case provision.Gitea:
		return "/api/v1"
	case provision.GitHub:
		return "/api/v3"
	case provision.BitbucketCloud:
		return "/2.0"
	case provision.BitbucketDataCenter, provision.GitLab:
	}
	return ""
}

// checkForgeURL refuses the root of the API, an address that belongs to a hosted
// service's web pages, and one of the reader's own for a service that is hosted
// only.
func (w *walk) checkForgeURL(at value, d *forgeDraft) {
	if root := apiRoot(d.Kind); root != "" && strings.HasSuffix(d.URL, root) {
		w.report(at, "this is the root of the API, and the address is wanted that stands before it", "leave out "+root)
		d.URL = strings.TrimSuffix(d.URL, root) // so that nothing is wrong but this
		return
	}
	hosted := provision.TraitsOf(d.Kind).DefaultURL
	if d.URL == "" || hosted == "" || d.URL == hosted {
		return
	}
	host := hostOf(d.URL)
	pages := []string{"github.com", "www.github.com", "api.github.com", "bitbucket.org", "www.bitbucket.org", "api.bitbucket.org"}
	switch {
	case slices.Contains(pages, host):
		w.refuseAddress(at, d.URL, "this is not where the API answers", "leave url out, or write "+hosted)
	case d.Kind == provision.BitbucketCloud && !isLocal(host):
		w.refuseAddress(at, d.URL, "Bitbucket Cloud is at "+hosted+" only",
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
		// The error is not shown: it may quote a part of the address.
		w.refuseAddress(v, s, "not an SSH address: that is ssh://, a host, with a user and a port if need be, and nothing else", fix)
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
		case err != nil && isPrivateKey(s):
			w.report(entry, "a private key must not stand in the configuration", fix)
		case err != nil:
			// The error is not shown: it may quote a part of the entry.
			w.report(entry, "not a public key: one line of a type and base64", fix)
		case !slices.Contains(hostKeyTypes(), k.Type()):
			w.report(entry, quote(k.Type())+" is no type of host key", "use one of "+strings.Join(hostKeyTypes(), ", "))
		case slices.Contains(d.HostKeys, k):
			w.report(entry, "the same host key a second time", "remove one of the two")
		default:
			d.HostKeys = append(d.HostKeys, k)
		}
	}
}

// isPrivateKey knows a private key by its header, or OpenSSH's by the base64 of
// "openssh-key-v1", with which its body begins.
func isPrivateKey(s string) bool {
	return strings.Contains(s, "PRIVATE KEY") || strings.Contains(s, "b3BlbnNzaC1rZXktdjE")
}
