package config

import (
	"fmt"
	"regexp"
	"strconv"

	"go.yaml.in/yaml/v4"
)

const longestAccount = 256

var namePattern = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_.@-]*$`)

// isID reports whether s is a numeric id as the kernel has it.
func isID(s string) bool {
	n, err := strconv.ParseUint(s, 10, 32)
	return err == nil && strconv.FormatUint(n, 10) == s
}

// The ids that stand for "nobody that is known here", of users and of groups.
const (
	overflowID = "65534"
	noID       = "4294967295"
)

// readNames reads a list of users or of groups, whichever kind says. The list
// may be empty: checkAudience wants an entry in one of the two.
func readNames(w *walk, v value, kind string) []string {
	fix := fmt.Sprintf("write a list of %s names or numeric ids, such as [jenkins, 1001]", kind)
	var names []string
	seen := map[string]bool{}
	for _, entry := range w.entries(v, fix) {
		s, ok := w.text(entry, fix)
		switch {
		case !ok:
		case (!namePattern.MatchString(s) || len(s) > longestAccount) && !isID(s):
			w.report(entry, fmt.Sprintf("%s is neither a %s name nor a numeric id", quote(s), kind), fix)
		case s == overflowID, s == noID:
			w.report(entry, fmt.Sprintf("the id %s stands for every %s that the system cannot name", s, kind), "name the "+kind+" that the builds run as")
		case seen[s]:
			w.report(entry, quote(s)+" is listed twice", "remove one of the two")
		default:
			seen[s] = true
			names = append(names, s)
		}
	}
	return names
}

// checkAudience wants somebody who may use the keys. A list with anything in it
// will do: what is wrong with its entries has been reported.
func (w *walk) checkAudience(root value, here found) {
	at := root.key("users")
	for _, name := range []string{"groups", "users"} {
		v, given := here[name]
		if !given {
			continue
		}
		if v.node.Kind != yaml.SequenceNode || len(v.node.Content) > 0 {
			return
		}
		at = v
	}
	w.report(at, "nobody may use the keys: users and groups name no one", "add users: [jenkins], or groups: [ci]")
}
