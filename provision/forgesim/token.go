package forgesim

import (
	"crypto/rand"
	"encoding/hex"
	"slices"
	"strings"
	"time"
)

// Token is a forge credential: who it acts for and what it may do.
type Token struct {
	Username string // the account; Bitbucket Cloud's Basic user for an API token
	Secret   string
	// Scopes are the forge's own names of rights, such as "write:repository"
	// (Gitea), "repo" or "administration:write" (GitHub) and
	// "admin:repository:bitbucket" (Bitbucket Cloud). Nil means all of them.
	Scopes []string
	// Admin lets the account administer every repository.
	Admin bool
	// AdminOf and ReadOf name further repositories that the account may
	// administer or see. Public ones are seen by all.
	AdminOf, ReadOf []string
	// AccessToken makes it a Bitbucket Cloud repository, project or workspace
	// access token, which comes as Bearer and may not manage keys.
	AccessToken bool
	// OwnsKeys makes RevokeToken delete the keys that were made with it, as
	// deleting a GitHub personal access token does.
	OwnsKeys bool

	grant *grant // nil for a token that AddToken made
}

// grant is what a token rests on that the forge has handed out in an exchange.
type grant struct {
	expires      time.Time     // by the forge's clock
	installation *installation // GitHub
	only         []*repository // of the installation's, where the exchange narrowed it
	consumer     *consumer     // Bitbucket Cloud
}

// over reports whether a token has expired.
func (t *Token) over(now time.Time) bool { return t.grant != nil && !now.Before(t.grant.expires) }

// covers reports whether a grant is about r.
func (g *grant) covers(r *repository) bool {
	if g.consumer != nil {
		return strings.EqualFold(g.consumer.Owner, r.owner())
	}
	return g.installation.covers(r) && (g.only == nil || slices.Contains(g.only, r))
}

func (t *Token) hasScope(oneOf ...string) bool {
	return t.Scopes == nil || slices.ContainsFunc(oneOf, func(s string) bool { return slices.Contains(t.Scopes, s) })
}

func (t *Token) administers(r *repository) bool {
	if t.grant != nil {
		return t.grant.covers(r)
	}
	return t.Admin || holds(t.AdminOf, r.path)
}

func (t *Token) sees(r *repository) bool {
	return r.options.Public || t.administers(r) || holds(t.ReadOf, r.path)
}

func holds(paths []string, path string) bool {
	return slices.ContainsFunc(paths, func(p string) bool { return strings.EqualFold(p, path) })
}

// AddToken makes the forge accept t from now on.
func (f *Forge) AddToken(t Token) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store.tokens[t.Secret] = &t
}

// RevokeToken makes the forge refuse the token with that secret from now on.
// Keys that were made with it stay, unless it has OwnsKeys.
func (f *Forge) RevokeToken(secret string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	t := f.store.tokens[secret]
	delete(f.store.tokens, secret)
	if t == nil || !t.OwnsKeys {
		return
	}
	for _, k := range slices.Clone(f.store.keys) {
		if k.token == t {
			f.store.remove(k)
		}
	}
}

// IssuedTokens returns the tokens that the forge has handed out in exchanges
// and not revoked, expired ones among them.
func (f *Forge) IssuedTokens() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var issued []string
	for secret, t := range f.store.tokens {
		if t.grant != nil {
			issued = append(issued, secret)
		}
	}
	slices.Sort(issued)
	return issued
}

// randomHex returns n random bytes as hexadecimal digits.
func randomHex(n int) string {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails since Go 1.24
	return hex.EncodeToString(b)
}
