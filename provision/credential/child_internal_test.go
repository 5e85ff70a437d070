//go:build linux

package credential

import (
	"context"
	"os"
	"os/exec"
	"testing"
)

// childEnv makes the test program play a part of another process.
const childEnv = "DEPLOYKEYD_TEST_CHILD"

func TestMain(m *testing.M) {
	switch part := os.Getenv(childEnv); part {
	case "":
		m.Run()
	case "load":
		tell(loadAsChild(Systemd(os.Getenv("DEPLOYKEYD_TEST_NAME"))))
	case "command":
		tell(loadAsChild(Command([]string{os.Getenv("DEPLOYKEYD_TEST_NAME")}, 0)))
	default:
		panicAsChild(part)
	}
}

// loadAsChild says which of the test's credentials a source gives, or why none.
func loadAsChild(s Source) string {
	secret, err := s.Load(context.Background())
	switch {
	case err != nil:
		return err.Error()
	case secret.Reveal() == theToken:
		return "the token"
	}
	return "something else"
}

func tell(s string) { _, _ = os.Stdout.WriteString(s) }

// child returns the test program playing a part. It is found by the kernel's own
// link, since another user may not look into the folder where go test built it.
func child(t *testing.T, part string, env ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe")
	cmd.Env = append(append(os.Environ(), childEnv+"="+part, "GORACE=atexit_sleep_ms=0"), env...)
	cmd.Dir = "/"
	return cmd
}
