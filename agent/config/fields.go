package config

import (
	"fmt"
	"regexp"
	"time"

	"deploykeyd/provision"
)

// The table of fields. Its rows are what is accepted, in the order in which the
// documentation shows them; nothing is accepted that has no row.

func configFields() []field[Config] {
	return []field[Config]{
		{spec{
			name: "fleet", sample: "ci-prod", required: true,
			doc: "the name under which machines recognise each other's keys",
		}, readFleet},
		{spec{
			name: "machine", sample: "builder-7",
			doc: "this machine's name; without it, what cloud-init or the system says",
		}, func(w *walk, v value, c *Config) { c.Machine = w.ownerWord(v) }},
		{spec{
			name: "users", sample: "[jenkins]",
			doc: "who may use the keys: user names or numeric ids; root only if listed here",
		}, func(w *walk, v value, c *Config) { c.Users = readNames(w, v, "user") }},
		{spec{
			name: "groups", sample: "[ci]",
			doc: "whose members may use the keys: group names or numeric ids; users, groups or both name somebody",
		}, func(w *walk, v value, c *Config) { c.Groups = readNames(w, v, "group") }},
		{spec{
			name: "forges", sample: "[{name: …, kind: …}]", required: true, inner: specs(forgeFields()),
			doc: "where the repositories are",
		}, readForges},
		{spec{
			name: "key", fallback: "{}", inner: specs(keyFields()),
			doc: "what the keypairs are like",
		}, func(w *walk, v value, c *Config) { readMapping(w, v, keyFields(), &c.Key) }},
		{spec{
			name: "ready", fallback: string(ReadyAll),
			doc: "when the machine counts as ready: when all repositories are verified, or any",
		}, func(w *walk, v value, c *Config) {
			c.Ready = Ready(w.oneOf(v, string(ReadyAll), string(ReadyAny)))
		}},
		{spec{
			name: "shutdown", fallback: "{}", inner: specs(shutdownFields()),
			doc: "how the program ends",
		}, func(w *walk, v value, c *Config) { readMapping(w, v, shutdownFields(), &c.Shutdown) }},
		{spec{
			name: "sweep", doc: "the removal of what other machines left",
			later: "leave it out: each machine removes its own keys",
		}, nil},
	}
}

func keyFields() []field[Key] {
	return []field[Key]{
		{spec{
			name: "type", fallback: "ed25519",
			doc: "ed25519, or ecdsa-p256 or rsa-3072 for hosts in FIPS mode",
		}, func(w *walk, v value, k *Key) { k.Type = w.oneOf(v, "ed25519", "ecdsa-p256", "rsa-3072") }},
		{spec{
			name: "expire", fallback: "24h",
			doc: "how long after its registration others may remove a key",
		}, func(w *walk, v value, k *Key) { k.Expire = w.duration(v, 10*time.Minute, provision.MaxTagAhead) }},
		{spec{
			name: "rotate", doc: "how often a key is replaced by a new one",
			later: "leave it out: restart the service for new keys",
		}, nil},
	}
}

func shutdownFields() []field[Shutdown] {
	return []field[Shutdown]{
		{spec{
			name: "timeout", fallback: "25s",
			doc: "how long the removal of the keys may take at a stop",
		}, func(w *walk, v value, s *Shutdown) { s.Timeout = w.duration(v, time.Second, 10*time.Minute) }},
	}
}

// ownerWordPattern is what an owner tag's fleet and machine are made of, and a
// forge's name too.
var ownerWordPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,255}$`)

// ownerWord reads a fleet, a machine or a forge's name.
func (w *walk) ownerWord(v value) string {
	const fix = "write a name of letters, digits and . _ -"
	s, ok := w.text(v, fix)
	if !ok {
		return ""
	}
	if !ownerWordPattern.MatchString(s) {
		w.report(v, quote(s)+" is not a name: only letters, digits and . _ - are allowed, 255 at most", fix)
		return ""
	}
	return s
}

func readFleet(w *walk, v value, c *Config) {
	c.Fleet = w.ownerWord(v)
	if c.Fleet == "" {
		return
	}
	// Machines find each other's keys by the fleet in the title: it is there
	// whole, whatever the machine is called.
	for _, k := range provision.Kinds() {
		limit := provision.TraitsOf(k).TitleLimit
		if _, err := provision.NewOwnerTag(c.Fleet, "m", provision.PublicKey{}, time.Time{}, limit); err != nil {
			w.report(v, fmt.Sprintf("too long: it must fit into the title of a key, which may have %d bytes, with more than the fleet in it", limit), "choose a shorter name")
			return
		}
	}
}
