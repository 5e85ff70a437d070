package config

import (
	"fmt"
	"slices"
	"strings"

	"deploykeyd/provision"
)

func readForges(w *walk, v value, c *Config) {
	claims := map[string]int{}
	for _, entry := range w.list(v, `write a list, each entry beginning with "- name:"`) {
		var d forgeDraft
		here := readMapping(w, entry, forgeFields(), &d)
		if here == nil {
			continue
		}
		d.Line = entry.node.Line
		for _, other := range c.Forges {
			if d.Name != "" && strings.EqualFold(other.Name, d.Name) {
				w.report(here["name"], fmt.Sprintf("%s names the entry at line %d already", quote(d.Name), other.Line), "give each entry a name of its own")
			}
		}
		w.finishCredential(here["credential"], &d)
		if d.Kind != "" {
			w.finishForge(entry, here, &d)
			w.claim(d, claims)
		}
		c.Forges = append(c.Forges, d.Forge)
	}
}

// finishForge checks and fills in what depends on the forge's kind. A field that
// is there but empty in d has been reported already.
func (w *walk) finishForge(entry value, here found, d *forgeDraft) {
	traits := provision.TraitsOf(d.Kind)
	if at, given := here["url"]; given {
		w.checkForgeURL(at, d)
	} else if d.URL = traits.DefaultURL; d.URL == "" {
		w.report(entry.key("url"), fmt.Sprintf("missing: every %s has its own", d.Kind), "add url: https://git.example.com")
	}
	if _, given := here["ssh"]; !given {
		w.defaultSSH(entry, d, traits)
	}
	_, pinned := here["host_keys"]
	if !pinned && d.SSH.Host != "" && !slices.Contains(builtInPins(), d.SSH.Host) {
		w.report(entry.key("host_keys"), "missing: the host keys of "+d.SSH.Host+" are not built in",
			"list what this prints on that server: cat /etc/ssh/ssh_host_*_key.pub")
	}
	w.finishRepositories(d, traits)
	if d.App != nil && d.Kind == provision.GitHub {
		w.checkOwner(d)
	}
}

// builtInPins lists the SSH hosts whose keys the program knows by itself.
func builtInPins() []string {
	return []string{"github.com", "ssh.github.com", "bitbucket.org", "altssh.bitbucket.org", "gitlab.com"}
}

// defaultSSH fills in where git reaches the forge when the entry does not say.
func (w *walk) defaultSSH(entry value, d *forgeDraft, traits provision.Traits) {
	if d.URL == "" {
		return
	}
	if d.URL == traits.DefaultURL {
		d.SSH = traits.DefaultSSH
		return
	}
	a := provision.SSHAddress{User: "git", Host: hostOf(d.URL), Port: 22}
	if a.Check() != nil {
		w.report(entry.key("ssh"), "missing: the host of url cannot be used for SSH", "add ssh: ssh://git@host:port")
		return
	}
	d.SSH = a
}
