package config

import (
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"deploykeyd/provision"
)

// MaxSize is the largest configuration file in bytes that is read.
const MaxSize = 1 << 20

// Config is a configuration that was accepted, with every default filled in.
type Config struct {
	Fleet    string   // the name under which machines recognise each other's keys
	Machine  string   // empty: the machine is identified by what the system says
	Users    []string // user names or numeric ids; Users and Groups are not both empty
	Groups   []string // group names or numeric ids, whose members are as good as listed users
	Forges   []Forge  // at least one; names are unique without regard to case
	Key      Key
	Ready    Ready
	Shutdown Shutdown

	source *source
}

// Key says what the keypairs are like.
type Key struct {
	Type   string        // "ed25519", "ecdsa-p256" or "rsa-3072"
	Expire time.Duration // from 10 minutes to provision.MaxTagAhead
}

// Shutdown says how the agent ends.
type Shutdown struct {
	Timeout time.Duration // how long the keys' removal may take at a stop
}

// Ready says when the agent counts as ready.
type Ready string

// The values of Ready.
const (
	ReadyAll Ready = "all" // every repository is verified
	ReadyAny Ready = "any" // at least one is
)

// Bind says whether a client must bind its SSH session to a host key.
type Bind string

// The values of Bind.
const (
	BindPrefer  Bind = "prefer"  // a client that cannot bind is served too
	BindRequire Bind = "require" // only OpenSSH 8.9 or later can bind
)

// Forge is one entry of forges.
type Forge struct {
	Name     string
	Kind     provision.Kind
	URL      string // canonical: lower-case scheme and host, no default port, no slash at the end
	SSH      provision.SSHAddress
	HostKeys []provision.PublicKey // empty: the pins that are built in for SSH.Host
	Bind     Bind
	Sockets  bool // each repository has a socket of its own too

	// Exactly one of Token, OAuth and App is set.
	Username string // set for Bitbucket Cloud with Token only
	Token    CredentialRef
	OAuth    *OAuthClient // for Bitbucket Cloud only
	App      *GitHubApp   // for GitHub only; all Repositories have one owner then

	Repositories []RepositoryEntry // at least one; none is claimed twice in the file
	Line         int               // where the entry begins
}

// CredentialRef says where a secret is. Of a reference that is set, exactly one
// of File, Env, Systemd and Command is.
type CredentialRef struct {
	File    string        // absolute path
	Env     string        // name of an environment variable
	Systemd string        // name of a file in the folder of the unit's credentials
	Command []string      // a program, by absolute path or bare name, and its arguments; prints the secret
	Timeout time.Duration // of Command, from 1 second to 2 minutes; else 0
	Line    int
}

// OAuthClient is an OAuth consumer that gets its tokens by the client
// credentials grant.
type OAuthClient struct {
	ID     string // printable ASCII without a colon
	Secret CredentialRef
}

// GitHubApp is a GitHub App that gets its tokens for one installation.
type GitHubApp struct {
	ID           string // the app's number, or its client id
	Installation int64  // 0: the installation that has the entry's repositories
	PrivateKey   CredentialRef
}

// RepositoryEntry is one repository that keys are registered on.
type RepositoryEntry struct {
	Repository provision.Repository
	Access     provision.Access
	Line       int
}

// Load reads and checks the file at path. What is wrong with its text is a
// *Problems; other errors say why the file could not be read, or that somebody
// other than root and this process's user may have written it. Whom the folders
// above it belong to is not checked.
func Load(path string) (Config, error) {
	f, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return Config{}, fmt.Errorf(`read configuration: %w: "deploykeyd config example" prints one to begin with`, err)
	}
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	defer f.Close()
	// The open file is checked, not its name: the name may point elsewhere by then.
	info, err := f.Stat()
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	if err := checkTrust(path, info); err != nil {
		return Config{}, fmt.Errorf("read configuration %s: %w", path, err)
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if err != nil {
		return Config{}, fmt.Errorf("read configuration: %w", err)
	}
	return Parse(path, text)
}

// Parse checks a configuration's text; name stands for it in messages. The
// error, if any, is a *Problems that lists everything that is wrong.
func Parse(name string, text []byte) (Config, error) {
	src, problem := newSource(name, text)
	if problem != nil {
		return Config{}, src.refuse([]Problem{*problem})
	}
	root, problem := src.document(text)
	if problem != nil {
		return Config{}, src.refuse([]Problem{*problem})
	}
	w := newWalk(src, root)
	c := w.config(root)
	if err := src.refuse(w.problems); err != nil {
		return Config{}, err
	}
	c.source = src
	return c, nil
}

// Refuse returns the error that reports problems which were found later, outside
// the text itself, with the same excerpts as those of Parse. It returns nil when
// there are none.
func (c Config) Refuse(problems ...Problem) error {
	if c.source == nil {
		return (&source{name: "configuration"}).refuse(problems)
	}
	return c.source.refuse(problems)
}
