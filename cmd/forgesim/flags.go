package main

import (
	"errors"
	"fmt"
	"io"
	"os/user"
	"slices"
	"time"

	"github.com/spf13/pflag"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

const help = `forgesim stands in for Gitea, GitHub and Bitbucket Cloud on this machine's
loopback addresses: their deploy key APIs, and SSH with real git. It holds no
state beyond bare repositories and host keys, and ends with SIGINT or SIGTERM.

Usage:
  forgesim [flags]

Examples:
  # three forges, and a configuration that deploykeyd can run with
  forgesim --config-out demo/deploykeyd.yaml
  deploykeyd run --config demo/deploykeyd.yaml

  # the same with a GitHub App and an OAuth consumer of Bitbucket Cloud
  forgesim --config-out demo/deploykeyd.yaml --credentials app,oauth

  # forges with names, fixed ports and a far-away feel
  forgesim --names --http gitea=127.0.0.1:3000 --ssh gitea=127.0.0.1:2222 --latency 50ms

  # make the next registration on Gitea lose its reply, and see what is there
  curl $CONTROL/faults -d '{"forge": "gitea", "name": "cut-after-effect", "op": "register", "times": 1}'
  curl $CONTROL/state

Control API:
  GET    /state      all keys of all forges, and how many replies are held
  GET    /requests   all API requests so far
  GET    /commands   all SSH commands so far
  POST   /faults     inject a fault: forge, name, op, repository, times, delay, retry_after, offset, status
                     (op: any, register, list, revoke, token, lookup, ssh)
  DELETE /faults     remove all faults
  POST   /release    let held replies go

Flags:
`

// options are the parsed flags.
type options struct {
	dir, control, controlOut, configOut, user string
	names, verbose                            bool
	latency                                   time.Duration
	pageSize                                  int
	repositories, credentials                 []string
	listen                                    map[provision.Kind]forgesim.Listen
}

// parse reads the arguments. Help goes to stdout and is pflag.ErrHelp.
func parse(args []string, stdout io.Writer) (options, error) {
	var (
		o        options
		web, ssh map[string]string
	)
	f := pflag.NewFlagSet("forgesim", pflag.ContinueOnError)
	f.SortFlags = false
	f.SetOutput(io.Discard) // errors are printed by the caller, once
	f.StringVar(&o.configOut, "config-out", "", "write a configuration for deploykeyd to this `file`, and credentials beside it")
	f.StringVar(&o.user, "user", "", "the `user` whom that configuration lets use the keys (default: who runs forgesim)")
	f.StringSliceVar(&o.credentials, "credentials", []string{formToken}, "the `forms` of that configuration's credentials: token, app (GitHub), oauth (Bitbucket Cloud)")
	f.StringSliceVar(&o.repositories, "repositories", []string{"acme/api", "acme/web"}, "repositories on each forge, besides "+writable)
	f.StringVar(&o.dir, "dir", "", "keep bare repositories and host keys in this `folder` (default: a temporary one)")
	f.BoolVar(&o.names, "names", false, "call the forges gitea.test, github.test and bitbucket-cloud.test")
	f.StringToStringVar(&web, "http", nil, "HTTP addresses, as `kind=host:port` (default: 127.0.0.1 to .3, any port)")
	f.StringToStringVar(&ssh, "ssh", nil, "SSH addresses, as `kind=host:port` (default: likewise)")
	f.Lookup("http").DefValue, f.Lookup("ssh").DefValue = "", "" // pflag would print an empty list
	f.StringVar(&o.control, "control", "127.0.0.1:0", "`host:port` of the control API, loopback only")
	f.StringVar(&o.controlOut, "control-out", "", "write the control API's URL to this `file` once everything is up")
	f.DurationVar(&o.latency, "latency", 0, "time that an API request takes there and back")
	f.IntVar(&o.pageSize, "page-size", forgesim.DefaultPageSize, "most entries on a page of a list")
	f.BoolVarP(&o.verbose, "verbose", "v", false, "log every request and SSH command")
	if err := f.Parse(args); err != nil {
		if errors.Is(err, pflag.ErrHelp) {
			_, _ = io.WriteString(stdout, help+f.FlagUsages())
		}
		return o, err
	}
	if f.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", f.Arg(0))
	}
	return o, o.complete(web, ssh)
}

// complete checks what pflag cannot and fills in defaults.
func (o *options) complete(web, ssh map[string]string) error {
	o.listen = map[provision.Kind]forgesim.Listen{}
	for name, address := range web {
		k, err := provision.ParseKind(name)
		if err != nil {
			return fmt.Errorf("--http: %w", err)
		}
		o.listen[k] = forgesim.Listen{HTTP: address}
	}
	for name, address := range ssh {
		k, err := provision.ParseKind(name)
		if err != nil {
			return fmt.Errorf("--ssh: %w", err)
		}
		o.listen[k] = forgesim.Listen{HTTP: o.listen[k].HTTP, SSH: address}
	}
	for _, form := range o.credentials {
		if !slices.Contains([]string{formToken, formApp, formOAuth}, form) {
			return fmt.Errorf("--credentials: unknown form %q: one of %s, %s, %s", form, formToken, formApp, formOAuth)
		}
		if form != formToken && o.configOut == "" {
			return fmt.Errorf("--credentials %s: whoever is to use it learns of it from the configuration: add --config-out", form)
		}
	}
	if o.user == "" {
		u, err := user.Current()
		if err != nil {
			return fmt.Errorf("--user is not given and the current user has no name: %w", err)
		}
		o.user = u.Username
	}
	return nil
}
