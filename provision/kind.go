package provision

import (
	"fmt"
	"slices"
	"strings"
)

// Kind names a forge's product, and with it the API dialect it speaks.
type Kind string

// The forge kinds, spelled as the configuration spells them.
const (
	BitbucketCloud      Kind = "bitbucket-cloud"
	BitbucketDataCenter Kind = "bitbucket-datacenter"
	GitHub              Kind = "github"
	GitLab              Kind = "gitlab"
	Gitea               Kind = "gitea" // Forgejo speaks the same dialect
)

// Kinds lists every kind in the order the documentation uses.
func Kinds() []Kind {
	return []Kind{BitbucketCloud, BitbucketDataCenter, GitHub, GitLab, Gitea}
}

// ParseKind returns the kind that s spells. The error names all kinds.
func ParseKind(s string) (Kind, error) {
	if k := Kind(s); slices.Contains(Kinds(), k) {
		return k, nil
	}
	names := make([]string, 0, len(Kinds()))
	for _, k := range Kinds() {
		names = append(names, string(k))
	}
	return "", fmt.Errorf("unknown forge kind %q: one of %s", s, strings.Join(names, ", "))
}

// Traits are the facts about a forge kind that shape a key plan. Each is taken
// from the forge's own documentation, or from its observed behaviour where the
// documentation is silent.
type Traits struct {
	// KeyPerRepository is true where a public key may exist only once on the
	// whole forge, so that every repository needs a keypair of its own.
	KeyPerRepository bool
	// ProjectKeys is true where one key can be registered for a whole project.
	ProjectKeys bool
	// NativeExpiry is true where the forge itself stops accepting a key after
	// a time that is given at registration.
	NativeExpiry bool
	// WriteAccess is true where a deploy key can be allowed to push.
	WriteAccess bool
	// TitleLimit is the longest title in bytes that the forge is known to keep.
	TitleLimit int
	// Limits are the forge's documented limits on its hosted service.
	Limits Limits
	// DefaultSSH is where the hosted service answers SSH; zero where every
	// installation has its own.
	DefaultSSH SSHAddress
	// DefaultURL is the hosted service's web root; empty where every
	// installation has its own.
	DefaultURL string
}

// Limits are documented request limits; zero means none is documented.
type Limits struct {
	RequestsPerHour  int // all API requests of one credential
	CreatesPerHour   int // requests that create content
	CreatesPerMinute int
	Concurrent       int // requests in flight of one credential
}

// TraitsOf returns the traits of k. An unknown kind has zero traits.
func TraitsOf(k Kind) Traits {
	switch k {
	case BitbucketCloud:
		// Rate: 1,000 requests an hour on /2.0/repositories, not raised for the
		// credentials that may manage access keys (Atlassian, "API request limits").
		return Traits{
			ProjectKeys: true, TitleLimit: 255,
			Limits:     Limits{RequestsPerHour: 1000},
			DefaultSSH: SSHAddress{User: "git", Host: "bitbucket.org", Port: 22},
			DefaultURL: "https://api.bitbucket.org",
		}
	case BitbucketDataCenter:
		return Traits{ProjectKeys: true, NativeExpiry: true, WriteAccess: true, TitleLimit: 255}
	case GitHub:
		// Rate: docs.github.com, "Rate limits for the REST API"; a key is
		// unique over the whole installation ("key is already in use").
		return Traits{
			KeyPerRepository: true, WriteAccess: true, TitleLimit: 255,
			Limits:     Limits{RequestsPerHour: 5000, CreatesPerHour: 500, CreatesPerMinute: 80, Concurrent: 100},
			DefaultSSH: SSHAddress{User: "git", Host: "github.com", Port: 22},
			DefaultURL: "https://api.github.com",
		}
	case GitLab:
		// Rate: docs.gitlab.com, "GitLab.com settings": 2,000 API requests a minute.
		return Traits{
			NativeExpiry: true, WriteAccess: true, TitleLimit: 255,
			Limits:     Limits{RequestsPerHour: 120000},
			DefaultSSH: SSHAddress{User: "git", Host: "gitlab.com", Port: 22},
			DefaultURL: "https://gitlab.com",
		}
	case Gitea:
		return Traits{WriteAccess: true, TitleLimit: 255}
	}
	return Traits{}
}
