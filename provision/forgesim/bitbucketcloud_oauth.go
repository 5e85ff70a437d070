package forgesim

import (
	"mime"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"deploykeyd/provision"
)

// Consumer is a Bitbucket Cloud OAuth consumer: a key and a secret that a
// workspace has made for a program.
type Consumer struct {
	ID     string // what Bitbucket's pages call the key
	Secret string
	Owner  string // the workspace that its tokens act for, on all its repositories
	// Scopes are the OAuth scopes of its tokens. Nil means what deploy keys
	// need: repository and repository:admin.
	Scopes []string
	// Public leaves the box "This is a private consumer" empty, and NoCallback
	// the callback URL. Either one keeps it from getting tokens for itself.
	Public, NoCallback bool
}

// consumer is a Consumer of the model.
type consumer struct{ Consumer }

// consumerTokenLife is how long an OAuth access token lasts: expires_in in the
// replies that reports quote. Atlassian's specification speaks of one hour.
const consumerTokenLife = 2 * time.Hour

// AddConsumer makes an OAuth consumer on a Bitbucket Cloud.
func (f *Forge) AddConsumer(c Consumer) {
	if f.kind != provision.BitbucketCloud || c.ID == "" || c.Secret == "" || c.Owner == "" {
		panic("forgesim: a consumer has an ID, a secret and an owner, and belongs to bitbucket-cloud")
	}
	if c.Scopes == nil {
		c.Scopes = []string{"repository", "repository:admin"}
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.store.consumers[c.ID] = &consumer{c}
}

// EditConsumer changes a consumer, if only its name. Deploy keys that were added
// through it are invalid from then on: they stay on every list and can be
// deleted, but SSH does not know them. Tokens that it has keep their scopes.
func (f *Forge) EditConsumer(id string, change func(*Consumer)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c := f.store.consumers[id]
	if c == nil {
		panic("forgesim: no consumer " + id)
	}
	change(&c.Consumer)
	c.ID = id
	for _, k := range f.store.keys {
		if k.token != nil && k.token.grant != nil && k.token.grant.consumer == c {
			k.dead = true
		}
	}
}

// oauthError is RFC 6749's body of a refusal, as Bitbucket Cloud sends it.
type oauthError struct {
	Description string `json:"error_description"`
	Error       string `json:"error"`
}

// refuseOAuth is always a 400, for a wrong secret too: Bitbucket Cloud does not
// follow RFC 6749, section 5.2, there.
func (bitbucketCloud) refuseOAuth(code, description string) reply {
	r := jsonReply(http.StatusBadRequest, bitbucketJSON, oauthError{description, code})
	r.header.Set("Cache-Control", "no-store")
	return r
}

// oauthToken is what Bitbucket Cloud hands out.
type oauthToken struct {
	Scopes      string `json:"scopes"` // not "scope", as in RFC 6749
	AccessToken string `json:"access_token"`
	ExpiresIn   int    `json:"expires_in"` // seconds
	TokenType   string `json:"token_type"`
	State       string `json:"state"`
}

// issue hands out a token to a consumer, for itself. The scopes are those of the
// consumer: Bitbucket Cloud ignores a scope in the request.
func (b bitbucketCloud) issue(f *Forge, c *call) reply {
	if c.method != http.MethodPost {
		return b.refuse(http.StatusMethodNotAllowed, "Method not allowed")
	}
	if c.tooLarge() {
		return b.refuse(http.StatusRequestEntityTooLarge, "Request body too large")
	}
	id, secret, basic := c.basicAuth()
	if !basic {
		return b.refuseOAuth("unauthorized_client", "Requests must be authenticated using OAuth client credentials")
	}
	who := f.store.consumers[id]
	if who == nil || who.Secret != secret || c.revoked {
		return b.refuseOAuth("unauthorized_client", "Invalid OAuth client credentials")
	}
	grants := c.form()["grant_type"]
	switch {
	case len(grants) == 0:
		return b.refuseOAuth("unsupported_grant_type", "Unsupported grant type: None")
	case len(grants) > 1:
		return b.refuseOAuth("invalid_request", "Repeated parameter: grant_type")
	case grants[0] != "client_credentials":
		return b.refuseOAuth("unsupported_grant_type", "Unsupported grant type: "+grants[0])
	case who.NoCallback:
		return b.refuseOAuth("invalid_request", "No callback uri defined for the OAuth client.")
	case who.Public:
		return b.refuseOAuth("invalid_grant", `Cannot use client_credentials with a consumer marked as "public". `+
			"Calls for auto generated consumers should use urn:bitbucket:oauth2:jwt instead.")
	}
	t := &Token{
		Secret: randomHex(40) + "==", Scopes: slices.Clone(who.Scopes),
		grant: &grant{expires: c.now.Add(consumerTokenLife), consumer: who},
	}
	f.store.tokens[t.Secret] = t
	out := jsonReply(http.StatusOK, bitbucketJSON, oauthToken{
		Scopes: strings.Join(t.Scopes, " "), AccessToken: t.Secret, ExpiresIn: int(consumerTokenLife / time.Second),
		TokenType: "bearer", State: "client_credentials",
	})
	out.header.Set("Cache-Control", "no-store")
	return out
}

// form returns the parameters in a body that says that it is a form. A query
// does not count, nor does JSON.
func (c *call) form() url.Values {
	t, _, err := mime.ParseMediaType(c.header.Get("Content-Type"))
	if err != nil || t != "application/x-www-form-urlencoded" {
		return nil
	}
	values, err := url.ParseQuery(string(c.body))
	if err != nil {
		return nil
	}
	return values
}
