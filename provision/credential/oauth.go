package credential

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// OAuthOptions describe a client at a forge's OAuth 2 token endpoint.
type OAuthOptions struct {
	Doer   Doer
	URL    string // the token endpoint
	ID     string // the client's id, which Bitbucket calls the consumer's key
	Secret Source // the client's secret
}

// OAuthClient returns the source that exchanges a client's id and secret for an
// access token (RFC 6749, section 4.4). The secret is read anew for every
// exchange, so that a replaced one is found.
func OAuthClient(o OAuthOptions) Source { return oauthClient{&o} }

type oauthClient struct{ options *OAuthOptions }

func (c oauthClient) String() string {
	return "OAuth client " + c.options.ID + " with the secret of " + c.options.Secret.String()
}

const (
	nextClient = "check the client_id, and put the client's current secret into the credential: "
	nextGrant  = "mark the OAuth consumer as private, and give it a callback URL and the permissions that deploy keys need (Repositories: admin)"
)

func (c oauthClient) Load(ctx context.Context) (Secret, error) {
	secret, err := load(ctx, c.options.Secret, "client secret")
	if err != nil {
		return Secret{}, err
	}
	// The two are form-encoded before they are joined: section 2.3.1.
	basic := base64.StdEncoding.EncodeToString([]byte(url.QueryEscape(c.options.ID) + ":" + url.QueryEscape(secret.Reveal())))
	q := query{
		method: http.MethodPost, url: c.options.URL,
		authorization: "Basic " + basic,
		contentType:   "application/x-www-form-urlencoded",
		body:          []byte(url.Values{"grant_type": {"client_credentials"}}.Encode()),
	}
	reply, err := ask(ctx, c.options.Doer, q)
	if err != nil {
		return Secret{}, fmt.Errorf("credential %s: %w", c, err)
	}
	if reply.status != http.StatusOK {
		problem := c.refused(reply, basic, secret.Reveal(), url.QueryEscape(secret.Reveal()))
		return Secret{}, fmt.Errorf("credential %s: %w", c, problem)
	}
	token, problem := readGrant(reply, time.Now())
	if problem != nil {
		return Secret{}, fmt.Errorf("credential %s: %w", c, problem)
	}
	return token, nil
}

// grant is the success of an exchange: section 5.1.
type grant struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ExpiresIn   *int64 `json:"expires_in"` // seconds
}

// longestLife bounds what is believed of a token's life. What ends sooner is
// found out by the forge's refusal.
const longestLife = 366 * 24 * time.Hour

// readGrant reads the token of a reply that came at now.
func readGrant(reply answer, now time.Time) (Secret, *Error) {
	var g grant
	if !reply.json(&g) {
		return Secret{}, reply.strange("the forge's reply is not the JSON of RFC 6749")
	}
	if !strings.EqualFold(g.TokenType, "bearer") {
		return Secret{}, reply.strange("the forge's token is not a bearer token")
	}
	token, err := parse([]byte(g.AccessToken))
	if err != nil {
		return Secret{}, reply.strange("the forge's token cannot be used: " + err.Error())
	}
	switch {
	case g.ExpiresIn == nil:
		return token, nil
	case *g.ExpiresIn <= 0:
		return Secret{}, reply.strange("the forge's token has no time to live")
	case *g.ExpiresIn > int64(longestLife/time.Second):
		return NewExpiring(token.Reveal(), now.Add(longestLife)), nil
	}
	return NewExpiring(token.Reveal(), now.Add(time.Duration(*g.ExpiresIn)*time.Second)), nil
}

// refused words a refusal: section 5.2, or the forge's own form of errors.
func (c oauthClient) refused(reply answer, sent ...string) *Error {
	var standard struct {
		Error       string `json:"error"`
		Description string `json:"error_description"`
	}
	_ = reply.json(&standard) // where it is none, there are no words to show
	words := standard.Error
	if standard.Description != "" {
		words += ": " + standard.Description
	}
	e := reply.refused("no access token from the forge", words, false, sent...)
	// Bitbucket says unauthorized_client to a wrong secret.
	if reply.status == http.StatusBadRequest && (standard.Error == "invalid_client" || standard.Error == "unauthorized_client") {
		e.Reason = Unknown
	}
	switch {
	case e.Next != "":
	case e.Reason == Unknown:
		e.Next = nextClient + c.options.Secret.String()
	default:
		e.Next = nextGrant
	}
	return e
}
