package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"deploykeyd/provision/sshconfig"
)

func newSSHConfig(o *options) *cobra.Command {
	var (
		write      bool
		file       string
		knownHosts string
	)
	c := &cobra.Command{
		Use:   "ssh-config",
		Short: "Print or write the builds' ssh client configuration",
		Long: `Print what makes ssh use the agent's socket and the pinned host keys for the
configured forges, or write it where ssh finds it. Write it as root, once after
every change of the configuration.`,
		Example: `  deploykeyd ssh-config
  sudo deploykeyd ssh-config --write`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := o.loadConfig()
			if err != nil {
				return err
			}
			if err := absolute(&file, &knownHosts); err != nil {
				return err
			}
			list := hosts(cfg)
			options := sshconfig.Options{AgentSocket: o.agentSocket(), KnownHosts: knownHosts, Users: cfg.Users, Groups: cfg.Groups}
			if !write {
				text, err := sshconfig.Config(list, options)
				if err != nil {
					return err
				}
				_, err = fmt.Fprint(cmd.OutOrStdout(), text)
				return err
			}
			changed, err := sshconfig.Write(file, list, options)
			if err != nil {
				return fail(exitFailed, "run it as root", "write the ssh configuration: %w", err)
			}
			said := "wrote"
			if !changed {
				said = "nothing to change in"
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s %s and %s\n", said, file, knownHosts)
			return err
		},
	}
	c.Flags().BoolVar(&write, "write", false, "write the files instead of printing")
	c.Flags().StringVar(&file, "file", sshConfigFile, "the ssh configuration `file`")
	c.Flags().StringVar(&knownHosts, "known-hosts", knownHostsFile, "the known_hosts `file`")
	return c
}
