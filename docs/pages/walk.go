package pages

import (
	"context"
	"fmt"
	"time"
)

// Place is where a session is run: two shells on the same machine.
type Place struct {
	Root *Shell // "# "
	User *Shell // "$ "
	// Patience is how long one command may take; 0 means two minutes.
	Patience time.Duration
}

// Walk runs blocks in their order and returns everything that was not as they
// show it. It stops at the first block whose before comment fails, since what
// comes after would fail for no reason of its own.
func (p Place) Walk(ctx context.Context, blocks []Block) []error {
	var problems []error
	for _, b := range blocks {
		steps, err := b.Steps()
		if err != nil {
			problems = append(problems, err)
			continue
		}
		if err := p.prepare(ctx, b); err != nil {
			return append(problems, err)
		}
		for i, s := range steps {
			// Who asks for the exit status says that it may be another one.
			asked := i+1 < len(steps) && steps[i+1].Command == "echo $?"
			if err := p.step(ctx, s, asked); err != nil {
				problems = append(problems, err)
			}
		}
	}
	return problems
}

// prepare runs the comment above a block.
func (p Place) prepare(ctx context.Context, b Block) error {
	if b.Before == "" {
		return nil
	}
	status, said, err := p.run(ctx, p.Root, b.Before)
	if err == nil && status != 0 {
		err = fmt.Errorf("exit status %d: %s", status, said)
	}
	if err != nil {
		return fmt.Errorf("%s: before: %w", b.Where(), err)
	}
	return nil
}

// step runs one command. One that fails must show what it then says, or have its
// exit status asked for.
func (p Place) step(ctx context.Context, s Step, asked bool) error {
	shell := p.User
	if s.Root {
		shell = p.Root
	}
	status, said, err := p.run(ctx, shell, s.Command)
	if err == nil {
		err = Match(s.Shown, said)
	}
	if err == nil && status != 0 && !asked && s.Shown == "" {
		err = fmt.Errorf("exit status %d", status)
	}
	if err != nil {
		return fmt.Errorf("%s: %s: %w", s.Where, s.Command, err)
	}
	return nil
}

func (p Place) run(ctx context.Context, shell *Shell, command string) (int, string, error) {
	patience := p.Patience
	if patience == 0 {
		patience = 2 * time.Minute
	}
	ctx, cancel := context.WithTimeoutCause(ctx, patience, fmt.Errorf("it did not end within %v", patience))
	defer cancel()
	return shell.Run(ctx, command)
}
