package cli

import (
	"fmt"

	"github.com/spf13/cobra"

	"deploykeyd/agent/config"
	"deploykeyd/agent/custody"
)

func newConfig(o *options) *cobra.Command {
	c := &cobra.Command{
		Use:   "config",
		Short: "Check the configuration, print an example or its schema",
		Args:  cobra.NoArgs,
		RunE:  func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	c.AddCommand(newConfigCheck(o), newConfigExample(), newConfigSchema())
	return c
}

func newConfigCheck(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "check",
		Short: "Report everything that is wrong with the configuration, at once",
		Long: `Check the configuration and its credentials without talking to a forge. Every
problem is reported at once, with its line and what to do. Exits 2 if there is
one.`,
		Example: "  deploykeyd config check --config ./deploykeyd.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = custody.Protect() // the credentials are read
			cfg, err := o.loadConfig()
			if err != nil {
				return err
			}
			if err := o.checkCredentials(cmd.Context(), cfg); err != nil {
				return err
			}
			repositories := 0
			for _, f := range cfg.Forges {
				repositories += len(f.Repositories)
			}
			_, err = fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %d %s on %d %s\n", o.config,
				repositories, plural(repositories, "repository"), len(cfg.Forges), plural(len(cfg.Forges), "forge"))
			return err
		},
	}
}

func newConfigExample() *cobra.Command {
	return &cobra.Command{
		Use:     "example",
		Short:   "Print a complete, commented configuration",
		Example: "  deploykeyd config example > /etc/deploykeyd/deploykeyd.yaml",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), config.Example())
			return err
		},
	}
}

func newConfigSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of the configuration, for editors",
		Long: `Print the JSON Schema (2020-12) of the configuration. An editor with a YAML
language server checks and completes with it when the configuration begins with
the line

  # yaml-language-server: $schema=deploykeyd.schema.json

What the schema refuses is refused by the daemon too; "deploykeyd config check"
knows more.`,
		Example: "  deploykeyd config schema > /etc/deploykeyd/deploykeyd.schema.json",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), config.Schema())
			return err
		},
	}
}
