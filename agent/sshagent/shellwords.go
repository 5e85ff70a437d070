package sshagent

import "strings"

// shellWords splits a command as a POSIX shell does (XCU 2.2, Quoting), the way
// in which forges read it too. It returns false for a command that a shell would
// not read as one list of plain words: with an open quote, a second command, or
// an expansion. A tilde stays what it is, since the forges leave it to git.
func shellWords(command string) ([]string, bool) {
	var (
		words  []string
		word   strings.Builder
		inWord bool
	)
	for i := 0; i < len(command); i++ {
		c := command[i]
		switch {
		case c == ' ' || c == '\t':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
			continue
		case c == '\'':
			n := strings.IndexByte(command[i+1:], '\'')
			if n < 0 {
				return nil, false
			}
			word.WriteString(command[i+1 : i+1+n])
			i += n + 1
		case c == '"':
			n, ok := doubleQuoted(&word, command[i+1:])
			if !ok {
				return nil, false
			}
			i += n
		case c == '\\':
			if i++; i == len(command) || command[i] == '\n' {
				return nil, false
			}
			word.WriteByte(command[i])
		case strings.IndexByte("\r\n;&|<>()$`#*?[", c) >= 0:
			return nil, false
		default:
			word.WriteByte(c)
		}
		inWord = true
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, true
}

// doubleQuoted adds what stands before the closing quote to word and returns
// how many bytes that took, the quote included.
func doubleQuoted(word *strings.Builder, s string) (int, bool) {
	for i := 0; i < len(s); i++ {
		switch c := s[i]; c {
		case '"':
			return i + 1, true
		case '$', '`':
			return 0, false
		case '\\':
			if i++; i == len(s) || s[i] == '\n' {
				return 0, false
			}
			if strings.IndexByte("\"\\$`", s[i]) < 0 {
				word.WriteByte(c)
			}
			word.WriteByte(s[i])
		default:
			word.WriteByte(c)
		}
	}
	return 0, false
}
