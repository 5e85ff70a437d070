package provision_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/provision"
)

const (
	ed25519Line = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIKRA+ciGbh7m9liOp2utE+vpbdh1VGSQwJD/hhjFAMVM"
	otherLine   = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl"
	tagText     = "deploykeyd:ci-prod:i-0abc123:bf430559898500" // without the last two digits and the expiry
)

func mustKey(t testing.TB, line string) provision.PublicKey {
	t.Helper()
	key, err := provision.ParsePublicKey(line)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func TestOwnerTagText(t *testing.T) {
	expires := time.Date(2026, 9, 2, 12, 30, 15, 999, time.FixedZone("x", 2*3600))
	tag, err := provision.NewOwnerTag("ci-prod", "i-0abc123", mustKey(t, ed25519Line), expires, 255)
	if err != nil {
		t.Fatal(err)
	}
	const want = tagText + "6e:20260902T103015Z"
	if tag.String() != want {
		t.Errorf("text is %s, want %s", tag, want)
	}
	back, err := provision.ParseOwnerTag(tag.String())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(tag, back); diff != "" {
		t.Errorf("parsed tag differs:\n%s", diff)
	}
	if !back.Names(mustKey(t, ed25519Line)) {
		t.Error("the tag does not name its own key")
	}
	if back.Names(mustKey(t, otherLine)) || back.Names(provision.PublicKey{}) {
		t.Error("the tag names a key that it was not made for")
	}
}

func TestParseOwnerTagRefuses(t *testing.T) {
	const good = tagText + "6e:20260902T103015Z"
	if _, err := provision.ParseOwnerTag(good); err != nil {
		t.Fatalf("the seed of this test does not parse: %v", err)
	}
	for _, title := range []string{
		"", "deploykeyd", "my laptop", good + " ", " " + good, good + "\n", good + ":", strings.ToUpper(good),
		strings.Replace(good, "deploykeyd", "deploykeyD", 1),
		strings.Replace(good, "ci-prod", "", 1),
		strings.Replace(good, "ci-prod", "ci prod", 1),
		strings.Replace(good, "i-0abc123", "", 1),
		strings.Replace(good, "i-0abc123", "i/0", 1),
		strings.Replace(good, "6e:", "6:", 1),
		strings.Replace(good, "6e:", "6E:", 1),
		strings.Replace(good, "6e:", "6ee:", 1),
		strings.Replace(good, "20260902", "20260931", 1), // no such day
		strings.Replace(good, "T103015Z", "T253015Z", 1),
		strings.Replace(good, "T103015Z", "T103015", 1),
		strings.Replace(good, "T103015Z", "T103015.5Z", 1),
		strings.Replace(good, "T103015Z", "T103015+0200", 1),
	} {
		if tag, err := provision.ParseOwnerTag(title); err == nil {
			t.Errorf("%q parses as %+v", title, tag)
		}
	}
}

func TestOwnerTagPlausible(t *testing.T) {
	now := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	for ahead, want := range map[time.Duration]bool{
		-time.Hour: true, 24 * time.Hour: true, provision.MaxTagAhead: true, provision.MaxTagAhead + time.Second: false,
	} {
		if got := (provision.OwnerTag{Expires: now.Add(ahead)}).Plausible(now); got != want {
			t.Errorf("%v ahead is %v", ahead, got)
		}
	}
}

func TestNewOwnerTagShortens(t *testing.T) {
	key := mustKey(t, ed25519Line)
	at := time.Date(2026, 9, 1, 0, 0, 0, 0, time.UTC)
	long := strings.Repeat("a", 300)
	for _, c := range []struct{ fleet, machine string }{
		{"ci", "m"}, {"ci", long}, {"0123456789a", strings.Repeat("m", 120)},
	} {
		for _, limit := range []int{68, 69, 90, 100, 255, 1000} {
			tag, err := provision.NewOwnerTag(c.fleet, c.machine, key, at, limit)
			if err != nil {
				t.Fatalf("limit %d: %v", limit, err)
			}
			if tag.Fleet != c.fleet {
				t.Errorf("limit %d: the fleet %q became %q", limit, c.fleet, tag.Fleet)
			}
			checkTag(t, tag, limit)
		}
	}
	whole, err := provision.NewOwnerTag("ci-prod", "i-0abc123", key, at, 255)
	if err != nil || whole.Fleet != "ci-prod" || whole.Machine != "i-0abc123" {
		t.Errorf("shortened without need: %v, %v", whole, err)
	}
	one, err1 := provision.NewOwnerTag("ci", long+"1", key, at, 100)
	two, err2 := provision.NewOwnerTag("ci", long+"2", key, at, 100)
	if err1 != nil || err2 != nil || one.Machine == two.Machine {
		t.Errorf("two machines became one: %s, %s", one, two)
	}
}

// TestNewOwnerTagOfAFleet holds that whether a fleet's name is possible does not
// hang on the machine, and that all its machines have the same in their tags.
func TestNewOwnerTagOfAFleet(t *testing.T) {
	for length, fine := range map[int]bool{1: true, 198: true, 199: false, 255: false} {
		fleet := strings.Repeat("f", length)
		for _, machine := range []string{"m", "0123456789a", "0123456789ab", strings.Repeat("m", 255)} {
			tag, err := provision.NewOwnerTag(fleet, machine, mustKey(t, ed25519Line), time.Unix(1_788_000_000, 0), 255)
			if fine != (err == nil) || fine && tag.Fleet != fleet {
				t.Errorf("a fleet of %d with a machine of %d gives %s, %v", length, len(machine), tag, err)
			}
			if fine {
				checkTag(t, tag, 255)
			}
		}
	}
}

func TestNewOwnerTagRefuses(t *testing.T) {
	key := mustKey(t, ed25519Line)
	for _, c := range []struct {
		fleet, machine string
		limit          int
	}{
		{"", "m", 255},
		{"f", "", 255},
		{"a:b", "m", 255},
		{"f", "a b", 255},
		{"f", "a\n", 255},
		{"é", "m", 255},
		{"f", "m", 57},
		{"0123456789ab", "m", 68},
		{"f", "m", 0},
		{"f", "m", -1},
	} {
		if tag, err := provision.NewOwnerTag(c.fleet, c.machine, key, time.Unix(0, 0), c.limit); err == nil {
			t.Errorf("%+v gives %s", c, tag)
		}
	}
}

// checkTag holds what every tag promises: it fits, it parses, it is itself again.
func checkTag(t *testing.T, tag provision.OwnerTag, limit int) {
	t.Helper()
	text := tag.String()
	if len(text) > limit {
		t.Errorf("%q has %d bytes, the limit is %d", text, len(text), limit)
	}
	back, err := provision.ParseOwnerTag(text)
	if err != nil {
		t.Fatalf("%q does not parse: %v", text, err)
	}
	if diff := cmp.Diff(tag, back); diff != "" {
		t.Errorf("parsed tag differs:\n%s", diff)
	}
}

func FuzzNewOwnerTag(f *testing.F) {
	f.Add("ci-prod", "i-0abc123", int64(1_788_000_000), 255)
	f.Add(strings.Repeat("f", 11), strings.Repeat("m", 12), int64(0), 68)
	f.Add("f", strings.Repeat("m", 400), int64(253402300799), 100)
	f.Add(strings.Repeat("f", 40), strings.Repeat("m", 40), int64(1_788_000_000), 80)
	f.Fuzz(func(t *testing.T, fleet, machine string, at int64, limit int) {
		expires := time.Unix(at, 0).UTC()
		if expires.Year() < 0 || expires.Year() > 9999 {
			return // a tag has four digits for the year
		}
		tag, err := provision.NewOwnerTag(fleet, machine, mustKey(t, ed25519Line), expires, limit)
		if err != nil {
			return
		}
		if tag.Fleet != fleet {
			t.Errorf("the fleet %q became %q", fleet, tag.Fleet)
		}
		checkTag(t, tag, limit)
	})
}

func FuzzParseOwnerTag(f *testing.F) {
	f.Add(tagText + "6e:20260902T103015Z")
	f.Add("deploykeyd:a:b:0000000000000000:00000101T000000Z")
	f.Add("deploykeyd:::::")
	f.Add("deploykeyd:a:b:0000000000000000:20260902T103015.000Z")
	f.Fuzz(func(t *testing.T, title string) {
		tag, err := provision.ParseOwnerTag(title)
		if err != nil {
			return
		}
		if tag.String() != title {
			t.Errorf("%q came back as %q", title, tag)
		}
	})
}
