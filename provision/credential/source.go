package credential

import (
	"bytes"
	"context"
	"fmt"
)

// Source is where a credential comes from. Implementations are safe for
// concurrent use.
type Source interface {
	// Load reads the credential anew. Its error names the source and never quotes
	// the secret. It wraps an *Error, which holds the next step, where a forge or a
	// program was asked, or the context's error when that ended first; other
	// errors are about what this machine has, will be the same next time, and name
	// the next step themselves.
	Load(context.Context) (Secret, error)
	// String names the source, such as "file /path" or "env NAME".
	String() string
}

// MaxSize is the most that is read of a credential, in bytes.
const MaxSize = 64 << 10

// reader is a source of our own, whose text may have several lines. What it is
// that the source holds ("token", "private key") is for the words of errors.
type reader interface {
	Source
	// read returns the text, which its caller wipes, without the source's name
	// in its error.
	read(ctx context.Context, what string) ([]byte, error)
	// remedy says how to put one right that is no plain line.
	remedy(what string) string
}

// load reads the one plain line that a source holds.
func load(ctx context.Context, s Source, what string) (Secret, error) {
	r, ours := s.(reader)
	if !ours {
		return s.Load(ctx)
	}
	text, err := r.read(ctx, what)
	if err != nil {
		return Secret{}, fmt.Errorf("credential %s: %w", s, err)
	}
	defer clear(text)
	secret, err := parse(text)
	if err != nil {
		return Secret{}, fmt.Errorf("credential %s: %w: %s", s, err, r.remedy(what))
	}
	return secret, nil
}

// loadText reads whatever text a source holds. Its caller wipes that.
func loadText(ctx context.Context, s Source, what string) ([]byte, error) {
	r, ours := s.(reader)
	if !ours {
		secret, err := s.Load(ctx)
		return []byte(secret.Reveal()), err
	}
	text, err := r.read(ctx, what)
	if err != nil {
		return nil, fmt.Errorf("credential %s: %w", s, err)
	}
	return text, nil
}

// line returns text without the one newline that may end it.
func line(text []byte) []byte {
	return bytes.TrimSuffix(bytes.TrimSuffix(text, []byte("\n")), []byte("\r"))
}
