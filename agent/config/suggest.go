package config

import (
	"fmt"
	"strings"
)

// maxWord is the length in bytes beyond which a word is no misspelt key.
const maxWord = 32

// isWord reports whether s looks like a key, so that it can be repeated in a
// message as one.
func isWord(s string) bool {
	return s != "" && len(s) <= maxWord && strings.Trim(s, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_-") == ""
}

// quote returns s in quotes, cut where it is long.
func quote(s string) string {
	if r := []rune(s); len(r) > 80 {
		s = string(r[:80]) + "…"
	}
	return fmt.Sprintf("%q", s)
}

// names lists the fields that can be used.
func names(list []spec) string {
	var usable []string
	for _, s := range list {
		if s.later == "" {
			usable = append(usable, s.name)
		}
	}
	return strings.Join(usable, ", ")
}

// fixUnknown says what a key that is unknown here may have been meant to be.
func fixUnknown(word string, known []spec) string {
	var here []string
	for _, s := range known {
		here = append(here, s.name)
	}
	if near := nearest(word, here); near != "" {
		return fmt.Sprintf("did you mean %q?", near)
	}
	if place := placeOf(word, specs(configFields()), "at the top level"); place != "" {
		return fmt.Sprintf("%q belongs %s: check the indentation", word, place)
	}
	return "known here: " + names(known)
}

// placeOf returns where in the table a field of that name is, or "".
func placeOf(name string, list []spec, place string) string {
	for _, s := range list {
		if s.name == name {
			return place
		}
	}
	for _, s := range list {
		if p := placeOf(name, s.inner, "under "+s.name); p != "" {
			return p
		}
	}
	return ""
}

// knownWords returns the name of every field.
func knownWords() map[string]bool {
	words := map[string]bool{}
	var add func([]spec)
	add = func(list []spec) {
		for _, s := range list {
			words[s.name] = true
			add(s.inner)
		}
	}
	add(specs(configFields()))
	return words
}

// nearest returns the candidate that word was probably meant to be, or "".
func nearest(word string, candidates []string) string {
	if len(word) > maxWord {
		return ""
	}
	word = strings.ToLower(word)
	best, least := "", max(1, len(word)/3)+1
	for _, c := range candidates {
		d := distance(word, c)
		if len(word) >= 3 && strings.HasPrefix(c, word) {
			d = min(d, 1)
		}
		if d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the insertions, deletions, replacements and swaps of
// neighbours that make b of a.
func distance(a, b string) int {
	rows := [3][]int{make([]int, len(b)+1), make([]int, len(b)+1), make([]int, len(b)+1)}
	before, last, row := rows[0], rows[1], rows[2]
	for j := range last {
		last[j] = j
	}
	for i := range len(a) {
		row[0] = i + 1
		for j := range len(b) {
			cost := 1
			if a[i] == b[j] {
				cost = 0
			}
			row[j+1] = min(last[j+1]+1, row[j]+1, last[j]+cost)
			if i > 0 && j > 0 && a[i] == b[j-1] && a[i-1] == b[j] {
				row[j+1] = min(row[j+1], before[j-1]+1)
			}
		}
		before, last, row = last, row, before
	}
	return last[len(b)]
}
