package config

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"deploykeyd/provision"
)

// readCredential keeps what stands below it out of the messages: it is the place
// where a secret is written by mistake.
func readCredential(w *walk, v value, d *forgeDraft) {
	v.secret = true
	d.credential = readMapping(w, v, credentialFields(), d)
}

// basicPattern is what can stand before the colon of HTTP's basic scheme.
var basicPattern = regexp.MustCompile(`^[!-9;-~]+$`)

func readUsername(w *walk, v value, d *forgeDraft) {
	const fix = "write the account's e-mail address"
	s, ok := w.text(v, fix)
	if ok && !isName(v.is.matches, s) {
		w.report(v, "only printable ASCII without spaces and colons is possible", fix)
		return
	}
	d.Username = s
}

// clientPattern is the key of a consumer, which Bitbucket makes of 18 letters and
// digits, such as MtDjb9nNZayJR3T5HJ ("OAuth FAQ"). Its secret has 32.
var clientPattern = regexp.MustCompile(`^[A-Za-z0-9_]{1,31}$`)

func readClientID(w *walk, v value, d *forgeDraft) {
	const fix = "write what Bitbucket shows as the consumer's key; its secret belongs under client_secret"
	s, ok := w.text(v, fix)
	if ok && !isName(v.is.matches, s) {
		w.report(v, "not the key of an OAuth consumer: letters and digits, 31 at most", fix)
		return
	}
	d.oauth.ID = s
}

// appIDPattern is an app's number, or its client id, such as Iv1.8a61f9b3a7aba766
// or Iv23liAbCdEfGhIjKlMn. An OAuth app's, which is no GitHub App, begins with Ov.
var appIDPattern = regexp.MustCompile(`^([1-9][0-9]{0,18}|Iv[0-9][A-Za-z0-9.]{1,60})$`)

func readAppID(w *walk, v value, d *forgeDraft) {
	const fix = "write the number or the client id (Iv…) that the GitHub App's settings show"
	s, ok := w.text(v, fix)
	if ok && !v.is.pattern.MatchString(s) {
		w.report(v, "neither a GitHub App's number nor its client id", fix)
		return
	}
	d.app.ID = s
}

func readInstallationID(w *walk, v value, d *forgeDraft) {
	const fix = "write the number at the end of the installation's address, or leave it out"
	s, ok := w.text(v, fix)
	if !ok {
		return
	}
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n <= 0 || strconv.FormatInt(n, 10) != s {
		w.report(v, "not the number of an installation", fix)
		return
	}
	d.app.Installation = n
}

// form is fields of a mapping that belong together, such as one way to prove to
// a forge who we are.
type form struct {
	means string         // for a person
	kind  provision.Kind // the only one that takes it; "" for any
	needs []string
	may   []string
}

// credentialForms has a form for each of Forge.Token, Forge.OAuth and Forge.App.
func credentialForms() (token, oauth, app form) {
	return form{means: "an access token", needs: []string{"token"}},
		form{means: "an OAuth consumer", kind: provision.BitbucketCloud, needs: []string{"client_id", "client_secret"}},
		form{means: "a GitHub App", kind: provision.GitHub, needs: []string{"app_id", "private_key"}, may: []string{"installation_id"}}
}

// formsOf returns the forms of a credential that a forge of kind k takes, with
// the username where a token needs one.
func formsOf(k provision.Kind) []form {
	token, oauth, app := credentialForms()
	if needsUsername(k) {
		token.means += " and its account"
		token.needs = slices.Concat([]string{"username"}, token.needs)
	}
	return slices.DeleteFunc([]form{token, oauth, app}, func(f form) bool { return f.kind != "" && f.kind != k })
}

// needsUsername reports whether a token of a forge of kind k goes with the name
// of its account. Elsewhere it goes alone.
func needsUsername(k provision.Kind) bool { return k == provision.BitbucketCloud }

// names returns the fields of f.
func (f form) names() []string { return slices.Concat(f.needs, f.may) }

// given returns which fields of f are in a credential.
func (f form) given(here found) []string {
	var names []string
	for _, name := range f.names() {
		if _, ok := here[name]; ok {
			names = append(names, name)
		}
	}
	return names
}

// finishCredential wants exactly one form, whole, and one that the forge's kind
// takes. The kind may be unknown.
func (w *walk) finishCredential(at value, d *forgeDraft) {
	if d.credential == nil {
		return // missing, or no mapping: reported
	}
	tokenForm, oauthForm, appForm := credentialForms()
	hasToken, hasOAuth, hasApp := tokenForm.given(d.credential), oauthForm.given(d.credential), appForm.given(d.credential)
	all := slices.Concat(hasToken, hasOAuth, hasApp)
	switch len(all) {
	case len(hasToken):
		w.finishForm(at, d, tokenForm, hasToken)
		w.checkUsername(at, d)
	case len(hasOAuth):
		oauth := d.oauth // what points into the draft would keep all of it
		d.OAuth = &oauth
		w.finishForm(at, d, oauthForm, hasOAuth)
	case len(hasApp):
		app := d.app
		d.App = &app
		w.finishForm(at, d, appForm, hasApp)
	default:
		w.report(at, strings.Join(all, ", ")+" do not belong together", "keep token"+instead(d.Kind))
	}
}

// finishForm checks the one form f, of which there are the given fields.
func (w *walk) finishForm(at value, d *forgeDraft, f form, given []string) {
	if f.kind != "" && d.Kind != "" && d.Kind != f.kind {
		w.report(d.credential[given[0]], fmt.Sprintf("is for %s alone", f.kind), fmt.Sprintf("for %s write token%s", d.Kind, instead(d.Kind)))
		return
	}
	for _, s := range specs(credentialFields()) {
		if slices.Contains(f.needs, s.name) && !slices.Contains(given, s.name) {
			w.missing(at, s)
		}
	}
	if username, ok := d.credential["username"]; ok && f.kind != "" {
		w.report(username, "belongs to a token, and there is none", "remove the username")
	}
}

// instead says what a forge of that kind takes instead of a token, to follow one.
func instead(k provision.Kind) string {
	const oauth, app = "client_id with client_secret", "app_id with private_key"
	switch k {
	case provision.BitbucketCloud:
		return " with username, or " + oauth
	case provision.GitHub:
		return ", or " + app
	case provision.Gitea, provision.BitbucketDataCenter, provision.GitLab:
		return ""
	}
	return ", or " + oauth + ", or " + app
}

// checkUsername wants one beside the token where the forge's kind needs it, and
// none elsewhere.
func (w *walk) checkUsername(credential value, d *forgeDraft) {
	at, given := d.credential["username"]
	switch needed := needsUsername(d.Kind); {
	case needed && !given:
		w.report(credential.key("username"), "missing: Bitbucket takes an API token only together with the account's e-mail address",
			"add username: ci@example.com")
	case given && !needed && d.Kind != "":
		w.report(at, fmt.Sprintf("%s takes the token alone", d.Kind), "remove the username")
	}
}

// checkOwner wants one owner for all repositories of an entry with a GitHub App:
// each owner has an installation of its own, and a token is for one of them.
func (w *walk) checkOwner(d *forgeDraft) {
	first := ""
	for _, draft := range d.repositories {
		// GitHub finds owners without regard to case.
		owner, _, _ := strings.Cut(strings.ToLower(string(draft.Repository)), "/")
		switch {
		case owner == "": // reported
		case first == "":
			first = owner
		case owner != first:
			w.report(draft.name, "of another owner than the entries before it, and an installation of a GitHub App has one owner",
				"make one entry of forges for each owner")
		}
	}
}
