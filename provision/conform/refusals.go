package conform

import (
	"net/http"
	"strings"

	"deploykeyd/provision"
	"deploykeyd/provision/forgesim"
)

func refusalCases() []testCase {
	return []testCase{
		{name: "key on two repositories", run: keyOnTwo},
		{name: "key of an account", run: accountKey},
		{name: "title of another key", run: titleClash},
		{name: "missing repository", run: missingRepository},
		{name: "hidden repository", token: true, run: hiddenRepository},
		{name: "credential with too little right", token: true, run: tooLittleRight},
		{name: "account without admin permission", token: true, run: notAdmin},
		{name: "credential that is unknown", token: true, run: unknownCredential},
		{name: "credential that was revoked", run: revokedCredential},
		{name: "policy forbids", run: policyForbids},
		{name: "renamed repository", run: renamed},
	}
}

func keyOnTwo(b *bench) {
	r := b.request()
	b.register(r)
	second := b.addRepository("key-on-two-repositories-2")
	target := provision.RepositoryTarget(provision.Repository(second))
	made, err := b.forge.Register(b.Context(), target, r)
	if b.traits.KeyPerRepository {
		e := b.errorOf(err, false, provision.InUseElsewhere)
		if e.Next == "" {
			b.Error("no next step")
		}
	} else if err != nil || made.Key != r.Key {
		b.Errorf("gives %+v, %v", made, err)
	}
	b.wantCount(r.Key, 1)
}

func accountKey(b *bench) {
	r := b.request()
	b.sim.AddUserKey(r.Key)
	_, err := b.forge.Register(b.Context(), b.target, r)
	b.wantError(err, false, provision.InUseElsewhere)
	b.wantCount(r.Key, 0)
}

func titleClash(b *bench) {
	r := b.request()
	b.addForeign(b.repo, r.Title)
	_, err := b.forge.Register(b.Context(), b.target, r)
	if b.kind == provision.Gitea {
		b.wantError(err, false, provision.TitleClash)
		b.wantCount(r.Key, 0)
		return
	}
	if err != nil {
		b.Errorf("register: %v", err)
	}
}

func missingRepository(b *bench) {
	for _, path := range []string{"acme/no-such-repository", "nobody/app"} {
		b.wantRefused(provision.RepositoryTarget(provision.Repository(path)), provision.NotFound)
	}
}

// wantRefused checks that all operations on a target end in an error of one of
// the classes that names a next step.
func (b *bench) wantRefused(t provision.Target, classes ...provision.Class) {
	b.Helper()
	r := b.request()
	_, registerErr := b.forge.Register(b.Context(), t, r)
	_, _, listErr := provision.Find(b.Context(), b.forge, t, r.Key)
	for _, err := range []error{registerErr, listErr} {
		// The status of a refused exchange is not that of the call.
		if e := b.errorOf(err, false, classes...); e.Next == "" || e.Status == 0 && b.holder == nil {
			b.Errorf("status is %d and next %q", e.Status, e.Next)
		}
	}
	revokeErr := b.forge.Revoke(b.Context(), t, provision.Registration{ID: "4711", Key: r.Key})
	if e := b.errorOf(revokeErr, false, classes...); e.Next == "" {
		b.Errorf("no next step: %v", e)
	}
	for _, k := range b.sim.AllKeys() {
		if k.Key == r.Key {
			b.Errorf("the key was registered: %+v", k)
		}
	}
}

// weak returns an adapter with another account's credential.
func (b *bench) weak(t forgesim.Token) *witness {
	b.Helper()
	username, _ := b.sim.Credential()
	if username != "" {
		t.Username = "weak@acme.example"
	}
	t.Secret = "0123456789-" + strings.ReplaceAll(b.repo, "/", "-")
	b.sim.AddToken(t)
	return b.login(t.Username, t.Secret)
}

func hiddenRepository(b *bench) {
	b.forge = b.weak(forgesim.Token{})
	b.wantRefused(b.target, provision.NotFound)
}

func tooLittleRight(b *bench) {
	b.forge = b.weak(forgesim.Token{Admin: true, Scopes: []string{"nothing"}})
	b.wantRefused(b.target, provision.Denied)
}

func notAdmin(b *bench) {
	b.forge = b.weak(forgesim.Token{ReadOf: []string{b.repo}})
	b.wantRefused(b.target, provision.Denied, provision.NotFound)
}

func unknownCredential(b *bench) {
	username, _ := b.sim.Credential()
	b.forge = b.login(username, "0123456789-unknown-0123456789")
	b.secrets = append(b.secrets, basic(username, "0123456789-unknown-0123456789"))
	b.wantRefused(b.target, provision.BadCredential)
}

func revokedCredential(b *bench) {
	made := b.register(b.request())
	b.sim.Inject(forgesim.Fault{Name: forgesim.CredentialRevoked})
	b.wantRefused(b.target, provision.BadCredential)
	b.wantError(b.forge.Revoke(b.Context(), b.target, made), false, provision.BadCredential)
	b.wantCount(made.Key, 1)
}

func policyForbids(b *bench) {
	b.sim.SetPolicy(false)
	r := b.request()
	_, err := b.forge.Register(b.Context(), b.target, r)
	classes := []provision.Class{provision.PolicyForbids}
	if b.kind == provision.BitbucketCloud {
		classes = append(classes, provision.Denied) // it has no documented word for it
	}
	b.wantError(err, false, classes...)
	b.wantCount(r.Key, 0)
}

func renamed(b *bench) {
	made := b.register(b.request())
	b.sim.Rename(b.repo, b.repo+"-renamed")
	class := provision.Moved
	if b.kind == provision.BitbucketCloud {
		class = provision.NotFound
	}
	b.wantRefused(b.target, class)
	err := b.forge.Revoke(b.Context(), b.target, made)
	e := b.errorOf(err, false, class)
	if class == provision.Moved && !strings.Contains(e.Next, "name") {
		b.Errorf("next is %q", e.Next)
	}
	b.repo += "-renamed"
	b.wantCount(made.Key, 1)
	for _, r := range b.sim.Requests()[b.before:] {
		if r.Method == http.MethodGet && r.Op != forgesim.OpList && r.Op != forgesim.OpLookup {
			b.Errorf("a redirect was followed: %s %s", r.Method, r.Path)
		}
	}
}
