package credential

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"time"
)

// AppOptions describe a GitHub App and the installation of it that acts.
type AppOptions struct {
	Doer Doer
	// Now tells the time by the forge's clock, where it has been seen; nil is
	// this machine's.
	Now          func() time.Time
	Root         string // the API's root, such as https://api.github.com
	ID           string // the App's id or its client id
	Installation int64  // zero: the one on Owner's account
	Owner        string // the user or organization whose repositories they are
	Key          Source // the App's private key in PEM form
}

// GitHubApp returns the source that signs in as a GitHub App and gets a token of
// its installation, which lasts an hour and may do no more than administer the
// repositories that the installation covers: the right that deploy keys need. The
// private key is read and parsed anew for every exchange and given up with it.
func GitHubApp(o AppOptions) Source {
	if o.Now == nil {
		o.Now = time.Now
	}
	return app{&appState{AppOptions: o}}
}

type app struct{ state *appState }

type appState struct {
	AppOptions
	found atomic.Int64 // the installation that was looked up; zero for none
}

func (a app) String() string {
	return "GitHub App " + a.state.ID + " with the key of " + a.state.Key.String()
}

func (a app) Load(ctx context.Context) (Secret, error) {
	key, err := a.state.readKey(ctx)
	if err != nil {
		return Secret{}, err
	}
	x := &appExchange{appState: a.state, key: key, now: a.state.Now}
	secret, err := x.token(ctx)
	if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusNotFound && x.remembered {
		x.found.Store(0) // the App was taken off, and maybe installed anew
		secret, err = x.token(ctx)
	}
	if err != nil {
		return Secret{}, fmt.Errorf("credential %s: %w", a, err)
	}
	return secret, nil
}

func (a *appState) readKey(ctx context.Context) (*rsa.PrivateKey, error) {
	text, err := loadText(ctx, a.Key, "private key")
	if err != nil {
		return nil, err
	}
	defer clear(text)
	key, err := parsePrivateKey(text)
	if err != nil {
		return nil, fmt.Errorf("credential %s: %w", a.Key, err)
	}
	return key, nil
}

// appExchange is one exchange with the key at hand.
type appExchange struct {
	*appState
	key        *rsa.PrivateKey
	now        func() time.Time // by the forge's clock, as far as it is known
	remembered bool             // the installation is one that was looked up before
}

const (
	nextApp     = "check app_id and that the private key is one of the App's current ones, and that this machine's clock is right: "
	nextInstall = "check app_id, install the App on the account that owns the repositories, or correct installation_id or the owner's name in the configuration"
	nextPermit  = "give the App the repository permission Administration: write, have the account's owner accept it, and see that the installation is not suspended"
)

// token gets a token of the installation.
func (x *appExchange) token(ctx context.Context) (Secret, error) {
	installation, err := x.installation(ctx)
	if err != nil {
		return Secret{}, err
	}
	// A token may be given less than its App has, never more ("Create an
	// installation access token for an app").
	body := []byte(`{"permissions":{"administration":"write"}}`)
	reply, jwt, err := x.ask(ctx, http.MethodPost, "/app/installations/"+strconv.FormatInt(installation, 10)+"/access_tokens", body)
	if err != nil {
		return Secret{}, err
	}
	if reply.status != http.StatusCreated {
		return Secret{}, x.refused(reply, jwt, "no installation token from the forge")
	}
	secret, problem := readInstallationToken(reply, time.Now())
	if problem != nil {
		return Secret{}, problem
	}
	return secret, nil
}

// installation returns the id of the installation, asking for it once.
func (x *appExchange) installation(ctx context.Context) (int64, error) {
	if x.Installation != 0 {
		return x.Installation, nil
	}
	if id := x.found.Load(); id != 0 {
		x.remembered = true
		return id, nil
	}
	reply, jwt, err := x.lookup(ctx)
	if err != nil {
		return 0, err
	}
	if reply.status != http.StatusOK {
		return 0, x.refused(reply, jwt, "no installation of the App on the account "+strconv.Quote(x.Owner))
	}
	id, problem := readInstallation(reply)
	if problem != nil {
		return 0, problem
	}
	x.found.Store(id)
	return id, nil
}

// lookup asks for the installation on the owner's account: none of its
// repositories has to exist for that. Organizations and users have an endpoint
// each ("Get an organization installation for the authenticated app", "Get a
// user installation for the authenticated app"), and nothing in a name tells the
// two apart.
func (x *appExchange) lookup(ctx context.Context) (reply answer, jwt string, err error) {
	for _, kind := range []string{"orgs", "users"} {
		reply, jwt, err = x.ask(ctx, http.MethodGet, "/"+kind+"/"+url.PathEscape(x.Owner)+"/installation", nil)
		if err != nil || reply.status != http.StatusNotFound {
			break
		}
	}
	return reply, jwt, err
}

// maxSkew is how far a clock may be off before a refused JWT is made anew.
const maxSkew = 30 * time.Second

// ask makes a request with a JWT, which it returns. One that is refused while
// the forge's clock shows another time is made once more, by that clock.
func (x *appExchange) ask(ctx context.Context, method, path string, body []byte) (answer, string, error) {
	now := x.now()
	reply, jwt, err := x.send(ctx, method, path, body, now)
	if err != nil || reply.status != http.StatusUnauthorized {
		return reply, jwt, err
	}
	date, ok := dateOf(reply.header)
	if !ok || date.Sub(now).Abs() <= maxSkew {
		return reply, jwt, nil
	}
	seen := time.Now()
	x.now = func() time.Time { return date.Add(time.Since(seen)) }
	return x.send(ctx, method, path, body, date)
}

func (x *appExchange) send(ctx context.Context, method, path string, body []byte, now time.Time) (answer, string, error) {
	jwt, err := signJWT(x.key, x.ID, now)
	if err != nil {
		return answer{}, "", errors.New("the private key cannot sign: make a new one in the App's settings")
	}
	q := query{method: method, url: x.Root + path, authorization: "Bearer " + jwt, body: body}
	if body != nil {
		q.contentType = "application/json"
	}
	reply, err := ask(ctx, x.Doer, q)
	return reply, jwt, err
}

// readInstallation reads the id of an installation.
func readInstallation(reply answer) (int64, *Error) {
	var installation struct {
		ID int64 `json:"id"`
	}
	if !reply.json(&installation) || installation.ID <= 0 {
		return 0, reply.strange("the forge's reply names no installation")
	}
	return installation.ID, nil
}

// readInstallationToken reads the token of a reply that came at now. The time of
// its end is the forge's: without the forge's time beside it, it says nothing.
func readInstallationToken(reply answer, now time.Time) (Secret, *Error) {
	var made struct {
		Token   string    `json:"token"`
		Expires time.Time `json:"expires_at"`
	}
	if !reply.json(&made) {
		return Secret{}, reply.strange("the forge's reply is not the JSON that its documentation promises")
	}
	token, err := parse([]byte(made.Token))
	if err != nil {
		return Secret{}, reply.strange("the forge's token cannot be used: " + err.Error())
	}
	date, ok := dateOf(reply.header)
	switch {
	case made.Expires.IsZero() || !ok:
		return token, nil
	case !made.Expires.After(date):
		return Secret{}, reply.strange("the forge's token has no time to live")
	}
	return NewExpiring(token.Reveal(), now.Add(min(made.Expires.Sub(date), longestLife))), nil
}

// SecondaryLimit reports whether the words of a GitHub refusal are those of a
// secondary rate limit, whose status is the same as that of a missing right and
// which need not come with a header that tells ("Rate limits for the REST API").
func SecondaryLimit(documentationURL, message string) bool {
	return strings.HasSuffix(documentationURL, "secondary-rate-limits") ||
		strings.HasSuffix(documentationURL, "#abuse-rate-limits") ||
		strings.Contains(message, "secondary rate limit")
}

// refused words a refusal.
func (x *appExchange) refused(reply answer, jwt, message string) *Error {
	var problem struct {
		Message          string `json:"message"`
		DocumentationURL string `json:"documentation_url"`
	}
	_ = reply.json(&problem) // where it is none, there are no words to show
	limited := reply.status == http.StatusForbidden && SecondaryLimit(problem.DocumentationURL, problem.Message)
	e := reply.refused(message, problem.Message, limited, jwt)
	switch {
	case e.Next != "":
	case e.Reason == Unknown:
		e.Next = nextApp + x.Key.String()
	case reply.status == http.StatusNotFound:
		e.Next = nextInstall
	default:
		e.Next = nextPermit
	}
	return e
}

// CheckAppKey reads an App's private key as an exchange does, and asks nobody
// about it. Its error names the source and the next step.
func CheckAppKey(ctx context.Context, key Source) error {
	_, err := (&appState{AppOptions: AppOptions{Key: key}}).readKey(ctx)
	return err
}
