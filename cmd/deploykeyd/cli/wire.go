package cli

import (
	"context"
	"fmt"
	"log/slog"

	"deploykeyd/agent"
	"deploykeyd/agent/config"
	"deploykeyd/agent/key"
	"deploykeyd/agent/sshagent"
	"deploykeyd/provision"
	"deploykeyd/provision/bitbucketcloud"
	"deploykeyd/provision/gitea"
	"deploykeyd/provision/github"
	"deploykeyd/provision/hostkey"
	"deploykeyd/provision/sshconfig"
	"deploykeyd/provision/verify"
)

// openForge makes the client of a configured forge. It is the one place that
// names them.
func openForge(f config.Forge, all sources, log *slog.Logger) (provision.Forge, error) {
	source := all.source(f.Token)
	switch f.Kind {
	case provision.Gitea:
		return gitea.New(gitea.Options{Name: f.Name, URL: f.URL, Credential: source, Logger: log, UserAgent: userAgent()})
	case provision.GitHub:
		return github.New(github.Options{
			Name: f.Name, URL: f.URL, Credential: source, App: all.app(f), Logger: log, UserAgent: userAgent(),
		})
	case provision.BitbucketCloud:
		return bitbucketcloud.New(bitbucketcloud.Options{
			Name: f.Name, URL: f.URL, Username: f.Username, Credential: source, OAuth: all.oauth(f), Logger: log, UserAgent: userAgent(),
		})
	case provision.BitbucketDataCenter, provision.GitLab:
	}
	return nil, fmt.Errorf("forge %s: %s is not built yet", f.Name, f.Kind)
}

// checkHostKeys refuses pins that must not be trusted: retired keys of the
// hosted forges, whose private halves are known to others, and weak ones.
func checkHostKeys(cfg config.Config) error {
	var problems []config.Problem
	for i, f := range cfg.Forges {
		for _, k := range f.HostKeys {
			if _, err := hostkey.Parse(k.String()); err != nil {
				problems = append(problems, config.Problem{
					Line: f.Line, Column: 1, Path: fmt.Sprintf("forges[%d].host_keys", i), Text: err.Error(),
					Fix: "pin the host key that the forge publishes now",
				})
			}
		}
		if len(pins(f)) == 0 {
			problems = append(problems, config.Problem{
				Line: f.Line, Column: 1, Path: fmt.Sprintf("forges[%d].host_keys", i),
				Text: "no host key is known for " + f.SSH.Host, Fix: "add host_keys: with the lines that the forge publishes",
			})
		}
	}
	return cfg.Refuse(problems...)
}

// pins returns the host keys that a forge must show.
func pins(f config.Forge) []hostkey.Pin {
	if len(f.HostKeys) == 0 {
		return hostkey.BuiltIn(f.SSH.Host)
	}
	list := make([]hostkey.Pin, len(f.HostKeys))
	for i, k := range f.HostKeys {
		list[i] = hostkey.Pin{Key: k, Source: hostkey.Configured}
	}
	return list
}

// hosts returns what ssh needs to know about the forges.
func hosts(cfg config.Config) []sshconfig.Host {
	list := make([]sshconfig.Host, len(cfg.Forges))
	for i, f := range cfg.Forges {
		list[i] = sshconfig.Host{Forge: f.Name, SSH: f.SSH, Pins: pins(f)}
	}
	return list
}

// agentOptions returns what the life cycle needs to know of the configuration.
func (o *options) agentOptions(cfg config.Config, log *slog.Logger) (agent.Options, error) {
	all := agent.Options{
		Version: version, Fleet: cfg.Fleet, KeyType: key.Type(cfg.Key.Type), Expire: cfg.Key.Expire,
		ReadyAny: cfg.Ready == config.ReadyAny, Logger: log,
	}
	credentials := o.sourcesOf(cfg)
	for _, f := range cfg.Forges {
		forge, err := openForge(f, credentials, log)
		if err != nil {
			return agent.Options{}, err
		}
		entry := agent.Forge{Name: f.Name, Kind: f.Kind, URL: f.URL, Forge: forge}
		for _, r := range f.Repositories {
			entry.Repositories = append(entry.Repositories, agent.RepositoryAccess{
				Repository: r.Repository, Access: r.Access, Socket: o.socketOf(f, r.Repository),
			})
		}
		all.Forges = append(all.Forges, entry)
	}
	return all, nil
}

// agentForges returns what the sockets need to know about the forges.
func (o *options) agentForges(cfg config.Config) []sshagent.Forge {
	list := make([]sshagent.Forge, len(cfg.Forges))
	for i, f := range cfg.Forges {
		list[i] = sshagent.Forge{
			Name: f.Name, Kind: f.Kind, SSH: f.SSH, HostKeys: pins(f), Bind: sshagent.BindPolicy(f.Bind),
		}
		if f.Sockets {
			list[i].Sockets = o.socketsDir()
		}
	}
	return list
}

// verifier proves keys with real git through a private socket for each proof.
type verifier struct {
	server *sshagent.Server
	dir    string // of the private sockets and the test clones
	hosts  map[string]sshconfig.Host
	kinds  map[string]provision.Kind
	prover *verify.Prover
}

func newVerifier(cfg config.Config, server *sshagent.Server, dir string, log *slog.Logger) (*verifier, error) {
	prover, err := verify.New(verify.Options{Dir: dir, Logger: log})
	if err != nil {
		return nil, err
	}
	v := &verifier{
		server: server, dir: dir, prover: prover,
		hosts: map[string]sshconfig.Host{}, kinds: map[string]provision.Kind{},
	}
	for i, h := range hosts(cfg) {
		v.hosts[h.Forge], v.kinds[h.Forge] = h, cfg.Forges[i].Kind
	}
	return v, nil
}

// Verify implements agent.Verifier.
func (v *verifier) Verify(ctx context.Context, forge string, repo provision.Repository, k *key.Key) error {
	socket, err := v.server.OpenVerification(v.dir, forge, repo, k) //nolint:contextcheck // to listen takes no time worth ending
	if err != nil {
		return &provision.Error{
			Op: "verify", Forge: forge, Target: provision.RepositoryTarget(repo), Class: provision.Transient,
			Message: err.Error(), Next: "check the run directory", Err: err,
		}
	}
	defer socket.Close()
	_, err = v.prover.Prove(ctx, verify.Request{
		Host: v.hosts[forge], Kind: v.kinds[forge], Repository: repo,
		AgentSocket: socket.Path(), Signed: socket.Signatures,
	})
	return err
}
