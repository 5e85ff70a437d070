package provision

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"regexp"
	"strconv"
)

// SSHAddress is where a forge answers SSH, and the user that it expects there.
type SSHAddress struct {
	User string
	Host string
	Port int // never 0
}

// hostPattern keeps anything that ssh_config could read as syntax out of a host
// name: a newline there would run commands as every user of the machine.
var hostPattern = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?$`)

var userPattern = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.-]*$`)

// ParseSSHAddress reads "ssh://user@host[:port]". The user defaults to git and
// the port to 22.
func ParseSSHAddress(s string) (SSHAddress, error) {
	u, err := url.Parse(s)
	if err != nil {
		return SSHAddress{}, fmt.Errorf("not a URL: write ssh://git@host:port")
	}
	if u.Scheme != "ssh" || u.Host == "" {
		return SSHAddress{}, errors.New("not an ssh URL: write ssh://git@host:port")
	}
	if u.Path != "" && u.Path != "/" || u.RawQuery != "" || u.Fragment != "" {
		return SSHAddress{}, errors.New("an SSH address has no path: write ssh://git@host:port")
	}
	if _, has := u.User.Password(); has {
		return SSHAddress{}, errors.New("an SSH address has no password: write ssh://git@host:port")
	}
	a := SSHAddress{User: "git", Host: u.Hostname(), Port: 22}
	if name := u.User.Username(); name != "" {
		a.User = name
	}
	if p := u.Port(); p != "" {
		a.Port, _ = strconv.Atoi(p)
	}
	return a, a.Check()
}

// Check reports an error when a part of a could not stand in an ssh_config or
// known_hosts file as it is.
func (a SSHAddress) Check() error {
	switch {
	case !hostPattern.MatchString(a.Host):
		return fmt.Errorf("host name %q: only letters, digits, dots and dashes are allowed", a.Host)
	case !userPattern.MatchString(a.User):
		return fmt.Errorf("SSH user %q: only letters, digits and . _ - are allowed", a.User)
	case a.Port < 1 || a.Port > 65535:
		return fmt.Errorf("port %d is out of range", a.Port)
	}
	return nil
}

// String returns a as a URL.
func (a SSHAddress) String() string {
	return "ssh://" + a.User + "@" + net.JoinHostPort(a.Host, strconv.Itoa(a.Port))
}

// CloneURL returns the URL that git clones r with.
func (a SSHAddress) CloneURL(r Repository) string { return a.String() + "/" + string(r) + ".git" }

// KnownHost returns the name that known_hosts files give to a:
// "host", or "[host]:port" where the port is not 22 (sshd(8), "SSH_KNOWN_HOSTS
// FILE FORMAT").
func (a SSHAddress) KnownHost() string {
	if a.Port == 22 {
		return a.Host
	}
	return "[" + a.Host + "]:" + strconv.Itoa(a.Port)
}
