package pages

import (
	"fmt"
	"strings"
)

// Step is one command of a console block with the output shown under it.
type Step struct {
	Where   string // PAGE:LINE, for messages
	Root    bool   // its prompt was "# "
	Command string // lines that end in a backslash are joined with their next ones
	Shown   string // empty, or whole lines
}

// Steps returns the commands of a console block.
func (b Block) Steps() ([]Step, error) {
	var steps []Step
	lines := strings.Split(strings.TrimSuffix(b.Text, "\n"), "\n")
	for i := 0; i < len(lines); i++ {
		where := fmt.Sprintf("%s:%d", b.Page, b.Line+1+i)
		command, root := strings.CutPrefix(lines[i], "# ")
		command, user := strings.CutPrefix(command, "$ ")
		if !root && !user {
			if len(steps) == 0 {
				return nil, fmt.Errorf("%s: output without a command: begin with \"$ \" or \"# \"", where)
			}
			steps[len(steps)-1].Shown += lines[i] + "\n"
			continue
		}
		for strings.HasSuffix(command, `\`) && i+1 < len(lines) {
			i++
			command += "\n" + lines[i]
		}
		steps = append(steps, Step{Where: where, Root: root, Command: command})
	}
	if len(steps) == 0 {
		return nil, fmt.Errorf("%s: no command", b.Where())
	}
	return steps, nil
}

// Place returns where a console block is to be run: the word after console, or
// "" for the usual place.
func (b Block) Place() string {
	if len(b.Words) == 0 {
		return ""
	}
	return b.Words[0]
}

// Consoles returns the console blocks of p that are to be run in a place.
func (p Page) Consoles(place string) []Block {
	var list []Block
	for _, b := range p.Blocks {
		if b.Language == "console" && b.Place() == place {
			list = append(list, b)
		}
	}
	return list
}
