package cli

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

// shells are those that a completion can be written for.
func shells() []string { return []string{"bash", "zsh", "fish", "powershell"} }

func newCompletion() *cobra.Command {
	return &cobra.Command{
		Use:   "completion " + strings.Join(shells(), "|"),
		Short: "Print the completion script of a shell",
		Long: `Print a script that makes a shell complete the commands, flags and values of
deploykeyd. The packages bring the scripts of bash, zsh and fish along; without a
package, put the script where the shell looks for it, and start a new shell.

  bash        /etc/bash_completion.d/deploykeyd, with the package bash-completion
  zsh         _deploykeyd in a directory of $fpath, with compinit in ~/.zshrc
  fish        ~/.config/fish/completions/deploykeyd.fish
  powershell  a line of $PROFILE`,
		Example: `  deploykeyd completion bash > /etc/bash_completion.d/deploykeyd
  source <(deploykeyd completion bash)   # for this shell alone
  deploykeyd completion zsh > "${fpath[1]}/_deploykeyd"
  deploykeyd completion fish > ~/.config/fish/completions/deploykeyd.fish
  deploykeyd completion powershell | Out-String | Invoke-Expression`,
		Args:      cobra.MatchAll(cobra.ExactArgs(1), cobra.OnlyValidArgs),
		ValidArgs: shells(),
		RunE: func(cmd *cobra.Command, args []string) error {
			return writeCompletion(cmd.Root(), args[0], cmd.OutOrStdout())
		},
	}
}

// WriteCompletion writes the completion script of a shell: bash, zsh, fish or
// powershell.
func WriteCompletion(shell string, w io.Writer) error { return writeCompletion(newRoot(), shell, w) }

func writeCompletion(root *cobra.Command, shell string, w io.Writer) error {
	switch shell {
	case "bash":
		return root.GenBashCompletionV2(w, true)
	case "zsh":
		return root.GenZshCompletion(w)
	case "fish":
		return root.GenFishCompletion(w, true)
	case "powershell":
		return root.GenPowerShellCompletionWithDesc(w)
	}
	return fmt.Errorf("no completion for the shell %q: use %s", shell, strings.Join(shells(), ", "))
}

// flagValues are the values of flags that have few.
func flagValues() map[string][]string {
	return map[string][]string{
		"log-level":  {"debug", "info", "warn", "error"},
		"log-format": {"text", "json"},
	}
}

// completeFlags says of every flag below root what its values are: few words, a
// file, a directory, or nothing that a shell could know. Commands without
// arguments of their own offer no files.
func completeFlags(root *cobra.Command) {
	root.CompletionOptions.DisableDefaultCmd = true // ours says where the script goes
	visit := func(c *cobra.Command, flags *pflag.FlagSet) {
		flags.VisitAll(func(f *pflag.Flag) { completeFlag(c, f) })
	}
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		visit(c, c.LocalNonPersistentFlags())
		visit(c, c.PersistentFlags())
		if len(c.ValidArgs) == 0 && c.ValidArgsFunction == nil {
			c.ValidArgsFunction = cobra.NoFileCompletions
		}
		for _, child := range c.Commands() {
			walk(child)
		}
	}
	walk(root)
}

// completeFlag leaves alone a flag whose command has said it already.
func completeFlag(c *cobra.Command, f *pflag.Flag) {
	if _, said := c.GetFlagCompletionFunc(f.Name); said || len(f.Annotations) > 0 || f.Value.Type() == "bool" {
		return
	}
	complete := cobra.NoFileCompletions
	switch values := flagValues()[f.Name]; {
	case len(values) > 0:
		complete = cobra.FixedCompletions(slices.Clone(values), cobra.ShellCompDirectiveNoFileComp)
	case f.Name == "config":
		complete = cobra.FixedCompletions([]string{"yaml", "yml"}, cobra.ShellCompDirectiveFilterFileExt)
	case strings.HasSuffix(f.Name, "-dir"):
		complete = cobra.FixedCompletions(nil, cobra.ShellCompDirectiveFilterDirs)
	case placeholder(f) == "file":
		return // any file
	}
	// It fails for a flag that has a completion, which was asked above.
	_ = c.RegisterFlagCompletionFunc(f.Name, complete)
}

// placeholder returns what stands for a flag's value in its help.
func placeholder(f *pflag.Flag) string {
	name, _ := pflag.UnquoteUsage(f)
	return name
}
