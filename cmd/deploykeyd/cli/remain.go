package cli

import (
	"errors"
	"fmt"
	"strings"

	"deploykeyd/agent"
)

var errShutdownTimeout = errors.New("the shutdown timeout ran out")

// keysRemain turns what may remain on forges into the error that exit status 3
// stands for, or nil.
func keysRemain(remnants []agent.Remnant) error {
	if len(remnants) == 0 {
		return nil
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d %s may remain on a forge:", len(remnants), plural(len(remnants), "key"))
	for _, r := range remnants {
		b.WriteString("\n")
		b.WriteString(describeRemnant(r))
	}
	return fail(exitKeysRemain, "run deploykeyd revoke again, or delete the keys on the forge by hand; the journal keeps the list", "%s", b.String())
}

func describeRemnant(r agent.Remnant) string {
	text := fmt.Sprintf("  %s on %s: %s %s", r.Target, r.Forge, r.Title, r.Fingerprint)
	if r.RemoteID != "" {
		text += " (id " + r.RemoteID + ")"
	}
	text += "\n    why: " + r.Reason
	if r.Next != "" {
		text += "\n    next: " + r.Next
	}
	return text
}

func plural(n int, word string) string {
	switch {
	case n == 1:
		return word
	case strings.HasSuffix(word, "y") && !strings.HasSuffix(word, "ey"):
		return strings.TrimSuffix(word, "y") + "ies"
	}
	return word + "s"
}
