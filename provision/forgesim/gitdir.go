package forgesim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// prepareDir makes the folder of the forge's bare repositories, and in it an
// empty one that the others are copied from: git init takes longer than that.
func (f *Forge) prepareDir(ctx context.Context) error {
	dir, err := filepath.Abs(filepath.Join(f.sim.dir, string(f.kind)))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	f.dir = dir
	template := f.template()
	if err := os.RemoveAll(template); err != nil {
		return err
	}
	if err := runGit(ctx, nil, "init", "--quiet", "--bare", "--initial-branch=main", "--template=", template); err != nil {
		return err
	}
	config, err := os.OpenFile(filepath.Join(template, "config"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = config.WriteString("[gc]\n\tauto = 0\n[receive]\n\tautogc = false\n" + f.dialect.config())
	return errors.Join(err, config.Close())
}

func (f *Forge) template() string { return filepath.Join(f.dir, ".template") }

// initBare makes a bare repository with one commit on main and a tag. One that
// an earlier run left in a folder of the user's own is kept as it is.
func (f *Forge) initBare(path string, o RepositoryOptions) (string, error) {
	dir := filepath.Join(f.dir, filepath.FromSlash(strings.ToLower(path))+".git")
	if _, err := os.Stat(filepath.Join(dir, "HEAD")); err == nil {
		return dir, nil
	}
	if err := os.CopyFS(dir, os.DirFS(f.template())); err != nil {
		return "", err
	}
	if o.Empty {
		return dir, nil
	}
	files := map[string]string{"README.md": "# " + path + "\n"}
	maps.Copy(files, o.Files)
	return dir, runGit(f.sim.running, firstCommit(path, files), "--git-dir="+dir, "fast-import", "--quiet")
}

// firstCommit returns a fast-import stream. Nothing in it depends on the time,
// so a repository has the same commit in every run.
func firstCommit(path string, files map[string]string) []byte {
	const who = "Forge <forge@example.invalid> 1767225600 +0000" // 2026-01-01
	var b bytes.Buffer
	message := "first commit of " + path + "\n"
	fmt.Fprintf(&b, "commit refs/heads/main\ncommitter %s\ndata %d\n%s", who, len(message), message)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		fmt.Fprintf(&b, "M 100644 inline %s\ndata %d\n%s\n", name, len(files[name]), files[name])
	}
	fmt.Fprintf(&b, "tag v1.0.0\nfrom refs/heads/main\ntagger %s\ndata 7\nv1.0.0\n\ndone\n", who)
	return b.Bytes()
}

// runGit runs git to its end. The error holds what git said.
func runGit(ctx context.Context, stdin []byte, args ...string) error {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Env = gitEnvironment("")
	cmd.Stdin = bytes.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("git: %w: %s", err, bytes.TrimSpace(out))
	}
	return nil
}

// gitEnvironment is the whole environment of every git process: nothing of the
// user's own configuration reaches it.
func gitEnvironment(protocol string) []string {
	env := []string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + os.DevNull, "LC_ALL=C",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull,
	}
	if protocol != "" {
		env = append(env, "GIT_PROTOCOL="+protocol)
	}
	return env
}
