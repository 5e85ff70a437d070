package provision

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"time"
)

// tagPrefix begins every title that deploykeyd gives to a key.
const tagPrefix = "deploykeyd"

// tagTime is the expiry's layout: ISO 8601 basic form, always UTC, so that a
// tag has colons only between its fields.
const tagTime = "20060102T150405Z"

// MaxTagAhead is how far in the future a tag's expiry may lie. A tag beyond it
// was not made by deploykeyd with a sane clock.
const MaxTagAhead = 365 * 24 * time.Hour

// tagOverhead is the length of a tag without its fleet and machine.
const tagOverhead = len(tagPrefix) + len(":::") + len(":") + 16 + len(tagTime)

var (
	ownerPattern = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)
	hashPattern  = regexp.MustCompile(`^[0-9a-f]{16}$`)
)

// OwnerTag is the title of a registration. It says whose key it is, so that the
// machines of a fleet recognise each other's keys, and when it may be removed.
type OwnerTag struct {
	Fleet   string
	Machine string
	KeyHash string    // PublicKey.TagHash of the registered key
	Expires time.Time // by the forge's clock, whole seconds, UTC
}

// NewOwnerTag returns the tag for key. The machine is shortened, kept distinct by
// a hash, where the tag would pass limit bytes. The fleet never is: the machines
// of a fleet, whose names differ in length, would not recognise each other. One
// that leaves no room for a machine of any length is an error.
func NewOwnerTag(fleet, machine string, key PublicKey, expires time.Time, limit int) (OwnerTag, error) {
	for what, s := range map[string]string{"fleet": fleet, "machine": machine} {
		if !ownerPattern.MatchString(s) {
			return OwnerTag{}, fmt.Errorf("%s %q: only letters, digits and . _ - are allowed", what, s)
		}
	}
	room := limit - tagOverhead - len(fleet)
	if room < shortest {
		return OwnerTag{}, fmt.Errorf("an owner tag needs %d bytes with a fleet of %d, the forge allows %d: choose a shorter fleet",
			tagOverhead+len(fleet)+shortest, len(fleet), limit)
	}
	return OwnerTag{
		Fleet: fleet, Machine: shorten(machine, room), KeyHash: key.TagHash(),
		Expires: expires.UTC().Truncate(time.Second),
	}, nil
}

// hashLength is how many hex digits stand for what shorten cut off.
const hashLength = 10

// shortest is the least that shorten makes of anything: a dash and the hash.
const shortest = 1 + hashLength

// shorten returns s, or a prefix of it and a hash of the whole, in n bytes.
func shorten(s string, n int) string {
	if len(s) <= n {
		return s
	}
	sum := sha256.Sum256([]byte(s))
	return s[:n-hashLength-1] + "-" + hex.EncodeToString(sum[:])[:hashLength]
}

// String returns the tag as a title.
func (t OwnerTag) String() string {
	return strings.Join([]string{tagPrefix, t.Fleet, t.Machine, t.KeyHash, t.Expires.UTC().Format(tagTime)}, ":")
}

var errNotATag = errors.New("not an owner tag")

// ParseOwnerTag reads a title. It accepts exactly what String writes.
func ParseOwnerTag(title string) (OwnerTag, error) {
	f := strings.Split(title, ":")
	if len(f) != 5 || f[0] != tagPrefix || !ownerPattern.MatchString(f[1]) ||
		!ownerPattern.MatchString(f[2]) || !hashPattern.MatchString(f[3]) {
		return OwnerTag{}, errNotATag
	}
	at, err := time.Parse(tagTime, f[4])
	if err != nil || at.Format(tagTime) != f[4] {
		return OwnerTag{}, errNotATag
	}
	return OwnerTag{Fleet: f[1], Machine: f[2], KeyHash: f[3], Expires: at}, nil
}

// Names reports whether the tag was made for key.
func (t OwnerTag) Names(key PublicKey) bool { return !key.IsZero() && t.KeyHash == key.TagHash() }

// Plausible reports whether the tag's expiry is at most MaxTagAhead after the
// forge's now.
func (t OwnerTag) Plausible(now time.Time) bool { return !t.Expires.After(now.Add(MaxTagAhead)) }
