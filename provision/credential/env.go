package credential

import (
	"context"
	"errors"
	"os"
)

// Env returns the source that reads the environment variable name.
func Env(name string) Source { return env(name) }

type env string

func (e env) String() string { return "env " + string(e) }

func (e env) Load(ctx context.Context) (Secret, error) { return load(ctx, e, "token") }

func (e env) remedy(what string) string { return "set it to the " + what + " alone" }

func (e env) read(_ context.Context, what string) ([]byte, error) {
	text := os.Getenv(string(e))
	if text == "" {
		return nil, errors.New("the environment variable is not set or empty: set it to the " + what)
	}
	return []byte(text), nil
}
