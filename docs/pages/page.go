package pages

import (
	"fmt"
	"io/fs"
	"path"
	"regexp"
	"slices"
	"strings"
	"unicode"
)

// Page is one file of the documentation.
type Page struct {
	Path    string // below the repository's root, with slashes
	Text    string
	Blocks  []Block
	Anchors []string // of its headings, as forges that render Markdown make them
	Links   []Link
}

// Link is a link in a page's text.
type Link struct {
	Line   int
	Target string // as it stands there
}

// Block is one fenced block of a page.
type Block struct {
	Page     string
	Line     int      // of its first backquotes
	Language string   // empty for none
	Words    []string // the info string's others
	Before   string   // commands of the comment above it
	Text     string
}

// Where says where the block stands, for messages.
func (b Block) Where() string { return fmt.Sprintf("%s:%d", b.Page, b.Line) }

// Has reports whether the word is in the block's info string.
func (b Block) Has(word string) bool { return slices.Contains(b.Words, word) }

// Value returns what follows NAME= in the info string, or "".
func (b Block) Value(name string) string {
	for _, w := range b.Words {
		if v, ok := strings.CutPrefix(w, name+"="); ok {
			return v
		}
	}
	return ""
}

// Read reads README.md and every Markdown file below docs. The error names the
// page and the line at which one does not parse.
func Read(tree fs.FS) ([]Page, error) {
	names := []string{"README.md"}
	err := fs.WalkDir(tree, "docs", func(name string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && path.Ext(name) == ".md" {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	var all []Page
	for _, name := range names {
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return nil, err
		}
		p, err := Parse(name, string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
	return all, nil
}

var (
	heading    = regexp.MustCompile(`^#{1,6} +(.*?) *#*$`)
	linkTarget = regexp.MustCompile(`\]\(([^()\s]+)(?: "[^"]*")?\)`)
	inlineCode = regexp.MustCompile("`[^`]*`")
)

const (
	fence        = "```"
	beforeOpens  = "<!-- before:"
	commentEnds  = "-->"
	maxBlockLine = 100_000 // lines of a page; a bound, not a taste
)

// Parse reads one page. Every fence must be closed.
func Parse(name, text string) (Page, error) {
	p := Page{Path: name, Text: text}
	lines := strings.Split(text, "\n")
	if len(lines) > maxBlockLine {
		return p, fmt.Errorf("%s: too many lines", name)
	}
	before := ""
	for i := 0; i < len(lines); i++ {
		line := lines[i]
		switch trimmed := strings.TrimSpace(line); {
		case strings.HasPrefix(trimmed, beforeOpens):
			commands, end, err := comment(lines, i)
			if err != nil {
				return p, fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
			before, i = commands, end
			continue
		case strings.HasPrefix(trimmed, fence):
			b, end, err := block(lines, i)
			if err != nil {
				return p, fmt.Errorf("%s:%d: %w", name, i+1, err)
			}
			b.Page, b.Before = name, before
			p.Blocks, before, i = append(p.Blocks, b), "", end
			continue
		case trimmed != "" && before != "":
			return p, fmt.Errorf("%s:%d: a before comment without a block under it", name, i+1)
		}
		if m := heading.FindStringSubmatch(line); m != nil {
			p.Anchors = append(p.Anchors, anchor(m[1], p.Anchors))
		}
		for _, m := range linkTarget.FindAllStringSubmatch(inlineCode.ReplaceAllString(line, ""), -1) {
			p.Links = append(p.Links, Link{i + 1, m[1]})
		}
	}
	return p, nil
}

// comment reads the commands of a before comment that begins at line i, and
// returns the line at which it ends.
func comment(lines []string, i int) (string, int, error) {
	text := strings.TrimPrefix(strings.TrimSpace(lines[i]), beforeOpens)
	for end := i; ; {
		if commands, _, ok := strings.Cut(text, commentEnds); ok {
			return strings.TrimSpace(commands), end, nil
		}
		if end++; end == len(lines) {
			return "", 0, fmt.Errorf("a comment that does not end")
		}
		text += "\n" + lines[end]
	}
}

// block reads the block whose fence is line i, and returns the line of the
// fence that closes it. A block in a list is as far from the margin as its fence.
func block(lines []string, i int) (Block, int, error) {
	margin, info, _ := strings.Cut(lines[i], fence)
	words := strings.Fields(info)
	b := Block{Line: i + 1}
	if len(words) > 0 {
		b.Language, b.Words = words[0], words[1:]
	}
	var text strings.Builder
	for end := i + 1; end < len(lines); end++ {
		if strings.TrimSpace(lines[end]) == fence {
			b.Text = text.String()
			return b, end, nil
		}
		text.WriteString(strings.TrimPrefix(lines[end], margin) + "\n")
	}
	return b, 0, fmt.Errorf("a block that does not end")
}

// anchor returns what a heading is linked by: its letters and digits in lower
// case with dashes for spaces, and a number where the page has it already.
func anchor(title string, have []string) string {
	title = strings.NewReplacer("`", "", "*", "").Replace(title)
	var b strings.Builder
	for _, r := range strings.ToLower(title) {
		switch {
		case unicode.IsLetter(r), unicode.IsDigit(r), r == '-', r == '_':
			b.WriteRune(r)
		case r == ' ':
			b.WriteByte('-')
		}
	}
	name := b.String()
	for n := 1; slices.Contains(have, name); n++ {
		name = fmt.Sprintf("%s-%d", b.String(), n)
	}
	return name
}
