package forgesim

import (
	"errors"
	"strings"
)

// maxCommand is the longest command line that the SSH side looks at.
const maxCommand = 4 << 10

var errCommand = errors.New("not a git command")

// command is what a client asks an SSH server to run.
type command struct {
	words     []string // nil when the line does not parse
	verb      string   // empty when it is no git command
	path      string
	operation string // of git-lfs: "download" or "upload"
}

// parseCommand reads what git asks an SSH server to run: a verb and one path,
// quoted as a shell would have it ("git-upload-pack '/acme/api.git'"), and for
// git-lfs an operation. The form "git upload-pack" counts as well. Nothing is
// ever given to a shell. The command holds the words even of a line that is
// none of git's.
func parseCommand(line string) (command, error) {
	if len(line) > maxCommand {
		return command{}, errCommand
	}
	words, err := shellWords(line)
	if err != nil {
		return command{}, err
	}
	c := command{words: words}
	if len(words) == 3 && words[0] == "git" {
		words = []string{"git-" + words[1], words[2]}
	}
	if len(words) == 3 && words[0] == lfsAuthenticate && (words[2] == lfsDownload || words[2] == lfsUpload) {
		c.operation = words[2]
		words = words[:2]
	}
	if len(words) != 2 || !strings.HasPrefix(words[0], "git-") || words[0] == lfsAuthenticate && c.operation == "" {
		return c, errCommand
	}
	c.verb, c.path = words[0], words[1]
	return c, nil
}

// shellWords splits a line at blanks outside of single quotes. A backslash
// outside of them takes the next byte as it is: git writes a quote within a
// quoted path as '\”. A control character is an error, as is everything else
// that a shell would give a meaning to.
func shellWords(line string) ([]string, error) {
	var (
		words  []string
		word   strings.Builder
		inWord bool
	)
	for i := 0; i < len(line); i++ {
		switch c := line[i]; {
		case c < ' ' || c == 0x7f || strings.IndexByte("\"`$;&|<>(){}*?[]#~!", c) >= 0 && !plainHere(c, inWord):
			return nil, errCommand
		case c == ' ':
			if inWord {
				words = append(words, word.String())
				word.Reset()
				inWord = false
			}
		case c == '\'':
			quoted, _, closed := strings.Cut(line[i+1:], "'")
			if !closed || strings.ContainsFunc(quoted, isControl) {
				return nil, errCommand
			}
			word.WriteString(quoted)
			inWord = true
			i += len(quoted) + 1
		case c == '\\':
			i++
			if i == len(line) || line[i] < ' ' || line[i] == 0x7f {
				return nil, errCommand
			}
			word.WriteByte(line[i])
			inWord = true
		default:
			word.WriteByte(c)
			inWord = true
		}
	}
	if inWord {
		words = append(words, word.String())
	}
	return words, nil
}

// plainHere reports whether a special byte means itself: a tilde within a word,
// as in "/~user/repo".
func plainHere(c byte, inWord bool) bool { return c == '~' && inWord }

func isControl(r rune) bool { return r < ' ' || r == 0x7f }
