package cli

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent"
)

// seen is a sighting of a daemon with one repository.
func seen(condition agent.Condition, signatures uint64, warnings ...string) sighting {
	return sighting{at: time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local), status: agent.Status{
		Phase: agent.Serving, Warnings: warnings, Repositories: []agent.RepositoryStatus{{
			Forge: "f", Repository: "a/b", Condition: condition, Reason: "a\x1b[31m reason", Next: "act", Use: agent.Use{Signatures: signatures},
		}},
	}}
}

func TestJSONViewerShowsEachChangeOnce(t *testing.T) {
	var out bytes.Buffer
	v := &jsonViewer{w: &out}
	for _, s := range []sighting{
		seen(agent.ConditionWaiting, 0), seen(agent.ConditionWaiting, 0), seen(agent.ConditionVerified, 0), seen(agent.ConditionVerified, 1), seen(agent.ConditionVerified, 1),
	} {
		if err := v.show(s); err != nil {
			t.Fatal(err)
		}
	}
	if n := strings.Count(out.String(), "\n"); n != 3 {
		t.Errorf("%d lines, want 3:\n%s", n, out.String())
	}
}

func TestLineViewerSaysWhatDiffers(t *testing.T) {
	var out bytes.Buffer
	v := &lineViewer{w: &out, said: map[string]string{}}
	silent := sighting{at: seen("", 0).at, silent: "gone quiet", status: agent.Status{Remaining: []agent.Remnant{{}}, Warnings: []string{"w"}}}
	without := seen("", 0)
	without.status.Repositories = nil
	for _, s := range []sighting{
		seen(agent.ConditionWaiting, 0, "w1", "w2"), seen(agent.ConditionWaiting, 3, "w1", "w2"), silent, silent, seen(agent.ConditionWaiting, 0, "w1"), seen(agent.ConditionVerified, 0), without, without,
	} {
		if err := v.show(s); err != nil {
			t.Fatal(err)
		}
	}
	want := strings.ReplaceAll(`@  deploykeyd: serving, not ready
@  f a/b: waiting: a [31m reason; next: act
@  warning: w1; w2
@  deploykeyd: gone quiet; 1 key may remain on a forge; w
@  deploykeyd: serving, not ready
@  warning: w1
@  f a/b: verified: a [31m reason; next: act
@  warning: gone
@  f a/b: gone
`, "@", "2026-01-02 03:04:05")
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("said (-want +got):\n%s", diff)
	}
}

func TestFit(t *testing.T) {
	for _, c := range []struct {
		text          string
		width, height int
		want          string
	}{
		{"a\nb\n", 10, 10, "a|b"},
		{"abcdef\n", 3, 10, "abc|def"},
		{"abcdefg\n\nh\n", 3, 10, "abc|def|g||h"},
		{"äöüß\n", 2, 10, "äö|üß"},
		{"1\n2\n3\n4\n", 0, 5, "1|2|3|4"},
		{"1\n2\n3\n4\n5\n", 0, 5, "1|2|3|(2 more lines: deploykeyd status)"},
		{"1\n2\n3\n", 0, 1, "1|(2 more lines: deploykeyd status)"},
		{"a\x1b[2Jb\tc\u202e\n", 0, 0, "a [2Jb c "},
	} {
		if got := strings.Join(fit(c.text, c.width, c.height), "|"); got != c.want {
			t.Errorf("%q in %d×%d is %q, want %q", c.text, c.width, c.height, got, c.want)
		}
	}
}
