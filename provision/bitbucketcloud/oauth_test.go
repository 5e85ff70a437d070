package bitbucketcloud_test

import (
	"io"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"deploykeyd/provision"
	"deploykeyd/provision/bitbucketcloud"
	"deploykeyd/provision/credential"
	"deploykeyd/provision/forgesim"
)

const consumerSecret = "s3cr3t-of-the-consumer"

// oauthSim returns an emulated Bitbucket Cloud with a consumer of acme, and how
// to sign in.
func oauthSim(t *testing.T, change func(*forgesim.Consumer)) (*forgesim.Forge, bitbucketcloud.Options) {
	t.Helper()
	sim, err := forgesim.New(forgesim.Options{Kinds: []provision.Kind{provision.BitbucketCloud}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	f := sim.Forge(provision.BitbucketCloud)
	if err := f.AddRepository("acme/app", forgesim.RepositoryOptions{}); err != nil {
		t.Fatal(err)
	}
	c := forgesim.Consumer{ID: "consumer", Secret: consumerSecret, Owner: "acme"}
	if change != nil {
		change(&c)
	}
	f.AddConsumer(c)
	t.Setenv(tokenName, consumerSecret)
	return f, bitbucketcloud.Options{
		Name: "cloud", URL: f.URL(), Transport: f.Transport(), UserAgent: "deploykeyd/test",
		OAuth: &bitbucketcloud.OAuth{ID: "consumer", Secret: credential.Env(tokenName)},
	}
}

func openOAuth(t *testing.T, o bitbucketcloud.Options) *bitbucketcloud.Forge {
	t.Helper()
	f, err := bitbucketcloud.New(o)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func tokens(f *forgesim.Forge) int {
	n := 0
	for _, r := range f.Requests() {
		if r.Op == forgesim.OpToken {
			n++
		}
	}
	return n
}

// TestOAuthLife registers, lists and revokes, and outlives its token.
func TestOAuthLife(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		<-time.NewTimer(27 * 365 * 24 * time.Hour).C // the bubble begins in the year 2000
		sim, o := oauthSim(t, nil)
		f := openOAuth(t, o)
		made, err := f.Register(t.Context(), target, request(t))
		if err != nil {
			t.Fatal(err)
		}
		for range 3 {
			<-time.NewTimer(101 * time.Minute).C // more than five sixths of its two hours
			if _, found, err := provision.Find(t.Context(), f, target, request(t).Key); err != nil || !found {
				t.Errorf("gives %v, %v", found, err)
			}
		}
		if err := f.Revoke(t.Context(), target, made); err != nil {
			t.Error(err)
		}
		synctest.Wait() // the last one is fetched while the one before is used
		if tokens(sim) != 4 || len(sim.Keys("acme/app")) != 0 {
			t.Errorf("%d tokens, %d keys are left", tokens(sim), len(sim.Keys("acme/app")))
		}
		for _, r := range sim.Requests() {
			if r.Status == http.StatusUnauthorized {
				t.Errorf("a token had to be refused first: %+v", r)
			}
		}
	})
}

func TestOAuthFailures(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*forgesim.Consumer)
		class  provision.Class
		next   string
	}{
		"bad secret":      {func(c *forgesim.Consumer) { c.Secret = "another" }, provision.BadCredential, "client's current secret"},
		"unknown":         {func(c *forgesim.Consumer) { c.ID = "another" }, provision.BadCredential, "client_id"},
		"not private":     {func(c *forgesim.Consumer) { c.Public = true }, provision.Denied, "private"},
		"no callback URL": {func(c *forgesim.Consumer) { c.NoCallback = true }, provision.Denied, "callback URL"},
		"no right":        {func(c *forgesim.Consumer) { c.Scopes = []string{"repository"} }, provision.Denied, "Repositories: admin"},
		"another's":       {func(c *forgesim.Consumer) { c.Owner = "other" }, "", "workspace"},
	} {
		t.Run(name, func(t *testing.T) {
			sim, o := oauthSim(t, c.change)
			_, err := openOAuth(t, o).Register(t.Context(), target, request(t))
			if class := provision.ClassOf(err); err == nil || c.class != "" && class != c.class || provision.IsUncertain(err) || !strings.Contains(provision.NextStep(err), c.next) && c.class != "" {
				t.Errorf("gives %v; next: %s", err, provision.NextStep(err))
			}
			for _, secret := range append(sim.IssuedTokens(), consumerSecret) {
				if strings.Contains(err.Error()+provision.NextStep(err), secret) {
					t.Errorf("shows a secret: %v", err)
				}
			}
		})
	}
}

// roundTripper is a transport that is a function.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// TestOAuthPlaces looks where tokens are asked for and used.
func TestOAuthPlaces(t *testing.T) {
	t.Setenv(tokenName, consumerSecret)
	for url, want := range map[string][2]string{
		"":                              {"https://bitbucket.org/site/oauth2/access_token", "https://api.bitbucket.org/2.0/repositories/acme/app/deploy-keys"},
		"https://api.bitbucket.org":     {"https://bitbucket.org/site/oauth2/access_token", "https://api.bitbucket.org/2.0/repositories/acme/app/deploy-keys"},
		"https://api.bitbucket.org/":    {"https://bitbucket.org/site/oauth2/access_token", "https://api.bitbucket.org/2.0/repositories/acme/app/deploy-keys"},
		"https://mirror.acme.example/x": {"https://mirror.acme.example/x/site/oauth2/access_token", "https://mirror.acme.example/x/2.0/repositories/acme/app/deploy-keys"},
	} {
		var asked []string
		f := openOAuth(t, bitbucketcloud.Options{
			URL: url, UserAgent: "deploykeyd/test", OAuth: &bitbucketcloud.OAuth{ID: "consumer", Secret: credential.Env(tokenName)},
			Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
				at, _, _ := strings.Cut(r.URL.String(), "?")
				asked = append(asked, at)
				body := `{"access_token":"abc","token_type":"bearer","expires_in":7200}`
				if len(asked) > 1 {
					body = `{"values":[]}`
					if r.Header.Get("Authorization") != "Bearer abc" {
						t.Errorf("comes with %v", r.Header)
					}
				}
				if r.Header.Get("User-Agent") != "deploykeyd/test" {
					t.Errorf("comes with %v", r.Header)
				}
				return &http.Response{StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(body))}, nil
			}),
		})
		for _, err := range f.List(t.Context(), target) {
			t.Fatal(err)
		}
		if len(asked) != 2 || asked[0] != want[0] || asked[1] != want[1] {
			t.Errorf("%q asks %q", url, asked)
		}
	}
}

func TestOAuthOptions(t *testing.T) {
	secret := credential.Env(tokenName)
	for _, c := range []struct {
		o    bitbucketcloud.Options
		want string
	}{
		{bitbucketcloud.Options{Credential: secret, OAuth: &bitbucketcloud.OAuth{ID: "x", Secret: secret}}, "both"},
		{bitbucketcloud.Options{Username: "ci@acme.example", OAuth: &bitbucketcloud.OAuth{ID: "x", Secret: secret}}, "both"},
		{bitbucketcloud.Options{OAuth: &bitbucketcloud.OAuth{Secret: secret}}, "no client id"},
		{bitbucketcloud.Options{OAuth: &bitbucketcloud.OAuth{ID: "x"}}, "no client secret"},
		{bitbucketcloud.Options{URL: "http://api.bitbucket.org", OAuth: &bitbucketcloud.OAuth{ID: "x", Secret: secret}}, "https"},
	} {
		if _, err := bitbucketcloud.New(c.o); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%+v gives %v", c.o, err)
		}
	}
}
