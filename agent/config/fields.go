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
			more: "Give the same one to all machines that do the same work, and another to any other group of machines. " +
				"It stands in the title of every key, so a change of it makes the keys of before strangers.",
			is: fleetShape(),
		}, readFleet},
		{spec{
			name: "machine", sample: "builder-7",
			doc:       "this machine's name; without it, what cloud-init or the system says",
			more:      "Two machines must never have the same: each would take the other's keys for its own. So leave it out of images and of files that are the same everywhere.",
			is:        word(ownerWordPattern, nameWords).upTo(longestName),
			otherwise: "cloud-init's instance id, else the system's machine id with the hardware's",
		}, func(w *walk, v value, c *Config) { c.Machine = w.ownerWord(v) }},
		{spec{
			name: "users", sample: "[jenkins]",
			doc:       "who may use the keys: user names or numeric ids; root only if listed here",
			more:      "At least one of `users` and `groups` names somebody. A user may be missing when the program starts: it is looked for again when a process asks that nobody knows.",
			is:        audienceShape("user"),
			otherwise: "nobody but the members of `groups`",
		}, func(w *walk, v value, c *Config) { c.Users = readNames(w, v, "user") }},
		{spec{
			name: "groups", sample: "[ci]",
			doc:       "whose members may use the keys: group names or numeric ids; users, groups or both name somebody",
			more:      "What counts is the groups that a process is in, not what the group database says now.",
			is:        audienceShape("group"),
			otherwise: "nobody but `users`",
		}, func(w *walk, v value, c *Config) { c.Groups = readNames(w, v, "group") }},
		{spec{
			name: "forges", sample: "[{name: …, kind: …}]", required: true, inner: specs(forgeFields()),
			doc:  "where the repositories are",
			more: "An entry is one credential on one git hosting service. Several entries may be for the same service, but no repository may be in two.",
			is:   shape{words: "a list of mappings, not empty", fewest: 1, entries: forgeShape()},
		}, readForges},
		{spec{
			name: "key", fallback: "{}", inner: specs(keyFields()),
			doc: "what the keypairs are like",
			is:  mappingOf(mapping{name: "key", title: "Keys", about: "What the keypairs are like. All of it may be left out."}),
		}, func(w *walk, v value, c *Config) { readMapping(w, v, keyFields(), &c.Key) }},
		{spec{
			name: "ready", fallback: string(ReadyAll),
			doc:  "when the machine counts as ready",
			more: "It is what `deploykeyd wait` and `deploykeyd up` wait for.",
			is:   oneOf(choice{string(ReadyAll), "every repository is verified"}, choice{string(ReadyAny), "at least one is"}),
		}, func(w *walk, v value, c *Config) { c.Ready = Ready(w.oneOf(v)) }},
		{spec{
			name: "shutdown", fallback: "{}", inner: specs(shutdownFields()),
			doc: "how the program ends",
			is:  mappingOf(mapping{name: "shutdown", title: "Shutdown", about: "How the program ends. All of it may be left out."}),
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
			doc: "the type of the keypairs",
			is: oneOf(choice{"ed25519", "short and fast; not for hosts in FIPS mode"},
				choice{"ecdsa-p256", "for hosts in FIPS mode"}, choice{"rsa-3072", "for hosts in FIPS mode and servers that know nothing else; to make a key and to sign take longer"}),
		}, func(w *walk, v value, k *Key) { k.Type = w.oneOf(v) }},
		{spec{
			name: "expire", fallback: "24h",
			doc: "how long after its registration others may remove a key",
			more: "It is for machines that end without a stop: choose longer than a machine lives. " +
				"The time is counted by the forge's clock and stands in the key's title.",
			is: between(10*time.Minute, provision.MaxTagAhead),
		}, func(w *walk, v value, k *Key) { k.Expire = w.duration(v) }},
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
			doc:  "how long the removal of the keys may take at a stop",
			more: "Keys that are not proven gone by then are listed, and the exit status is 3. The service manager must wait longer: for systemd that is `TimeoutStopSec=`.",
			is:   between(time.Second, 10*time.Minute),
		}, func(w *walk, v value, s *Shutdown) { s.Timeout = w.duration(v) }},
	}
}

// ownerWordPattern is what an owner tag's fleet and machine are made of, and a
// forge's name too.
var ownerWordPattern = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

const longestName = 255

const nameWords = "a name of letters, digits and `.` `_` `-`, 255 at most"

// ownerWord reads a fleet, a machine or a forge's name.
func (w *walk) ownerWord(v value) string {
	const fix = "write a name of letters, digits and . _ -"
	s, ok := w.text(v, fix)
	if !ok {
		return ""
	}
	if !v.is.pattern.MatchString(s) || len(s) > longestName {
		w.report(v, quote(s)+" is not a name: only letters, digits and . _ - are allowed, 255 at most", fix)
		return ""
	}
	return s
}

// longestFleet is what a title of a key has room for beside the rest of it.
const longestFleet = 198

func fleetShape() shape {
	s := word(ownerWordPattern, fmt.Sprintf("a name of letters, digits and `.` `_` `-`, %d at most", longestFleet))
	s.longest = longestFleet
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

// audiencePattern is a name, or a number: what isID knows beyond that is left to
// the reader.
var audiencePattern = regexp.MustCompile(namePattern.String() + `|^(0|[1-9][0-9]{0,9})$`)

// audienceShape is a list of whom the keys are for, users or groups.
func audienceShape(kind string) shape {
	entry := word(audiencePattern, "a "+kind+" name or a numeric id").upTo(longestAccount)
	return shape{words: "a list of " + kind + " names or numeric ids", entries: &entry, unique: true}
}
