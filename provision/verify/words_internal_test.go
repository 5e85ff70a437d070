package verify

import (
	"errors"
	"os/exec"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"deploykeyd/provision"
	"deploykeyd/provision/sshconfig"
)

func TestClean(t *testing.T) {
	for in, want := range map[string]string{
		"": "",
		"error:\nerror: Public (Deploy) Key: 1:dk is not authorized to read a/b.\nerror:\nfatal: Could not read from remote repository.\n\n" +
			"Please make sure you have the correct access rights\nand the repository exists.\n": "error: / error: Public (Deploy) Key: 1:dk is not authorized to read a/b. / error:",
		"remote: \r\nremote: ====================\nremote: ERROR: gone\nremote: \n": "ERROR: gone",
		"\x1b[31mred\x1b[0m\x07\ttab  two\u202ebidi\xff":                            "[31mred [0m tab two bidi?",
		strings.Repeat("é", 400):                                                    strings.Repeat("é", 150) + "…",
	} {
		if got := clean(in); got != want {
			t.Errorf("clean(%q) is %q, want %q", in, got, want)
		}
	}
}

func FuzzClean(f *testing.F) {
	f.Add("remote: \x1b[2Jx\n")
	f.Fuzz(func(t *testing.T, in string) {
		got := clean(in)
		if len(got) > maxMessage+len("…") || !utf8.ValidString(got) || strings.ContainsFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }) {
			t.Errorf("clean(%q) is %q", in, got)
		}
	})
}

func TestCapped(t *testing.T) {
	c := &capped{room: 5}
	for _, s := range []string{"abc", "def", "ghi"} {
		if n, err := c.Write([]byte(s)); n != 3 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
	}
	if c.String() != "abcde" {
		t.Errorf("kept %q", c.String())
	}
}

// TestExplain runs through the words that servers are documented to use.
func TestExplain(t *testing.T) {
	const fatal = "\nfatal: Could not read from remote repository.\n"
	for _, test := range []struct {
		kind   provision.Kind
		stderr string
		want   provision.Class
	}{
		{provision.GitHub, "git@github.com: Permission denied (publickey)." + fatal, provision.Transient},
		{provision.GitHub, "git@github.com: Permission denied (publickey,password)." + fatal, provision.Transient},
		{provision.GitHub, "ERROR: Repository not found." + fatal, provision.NotFound},
		{provision.BitbucketCloud, "repository access denied. deployment key is not associated with the requested repository" + fatal, provision.Denied},
		{provision.BitbucketCloud, "conq: repository access denied." + fatal, provision.Denied},
		{provision.BitbucketDataCenter, "Repository not found\nThe requested repository does not exist, or you do not have permission to access it." + fatal, provision.NotFound},
		{provision.GitLab, "remote: ERROR: The project you were looking for could not be found or you don't have permission to view it." + fatal, provision.NotFound},
		{provision.GitLab, "remote: Your SSH key has expired." + fatal, provision.Denied},
		{provision.Gitea, "Gitea: Public (Deploy) Key: 1:dk-a is not authorized to read acme/r3." + fatal, provision.Denied},
		{provision.Gitea, "Forgejo: Cannot find repository: acme/nosuch" + fatal, provision.NotFound},
		{provision.Gitea, "No ED25519 host key is known for [h]:22 and you have requested strict checking.\nHost key verification failed." + fatal, provision.Invalid},
		{provision.Gitea, "Unable to negotiate with ::1 port 22: no matching host key type found. Their offer: ssh-dss" + fatal, provision.Invalid},
		{provision.Gitea, "sign_and_send_pubkey: signing failed for ED25519 \"x\" from agent: agent refused operation\ngit@h: Permission denied (publickey)." + fatal, provision.Invalid},
		{provision.Gitea, "kex_exchange_identification: Connection closed by remote host" + fatal, provision.Transient},
		{provision.Gitea, "error: write error: No space left on device" + fatal, provision.Transient},
		{provision.Gitea, "", provision.Transient},
	} {
		w := &work{request: Request{Kind: test.kind, Repository: "acme/app", Host: sshconfig.Host{Forge: "forge"}}}
		err := refused(w.request, w.explain(&exec.ExitError{}, test.stderr))
		if err.Class != test.want || err.Next == "" {
			t.Errorf("%s, %q: %+v", test.kind, test.stderr, err)
		}
		if errors.Is(err, errNotTakenUp) != strings.Contains(err.Message, "not known") {
			t.Errorf("%q: tried again or not: %+v", test.stderr, err)
		}
	}
	changed := "@@@@@@@@@\n@ WARNING: REMOTE HOST IDENTIFICATION HAS CHANGED! @\nThe fingerprint for the ED25519 key sent by the remote host is\n" +
		"SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU.\nHost key verification failed.\n"
	w := &work{request: Request{Kind: provision.GitHub, Repository: "acme/app"}}
	if err := refused(w.request, w.explain(&exec.ExitError{}, changed)); !strings.Contains(err.Message, "it shows SHA256:+DiY3wvvV6TuJJhbpZisF/zLDA0zPMSvHdkr4UvCOqU") {
		t.Errorf("message is %q", err.Message)
	}
	if got := refusals("unheard of"); got != nil {
		t.Errorf("an unknown kind has texts %v", got)
	}
}

func TestShellQuote(t *testing.T) {
	for _, s := range []string{"/usr/bin/ssh", "/a b/$HOME", "it's", "'", "a\nb", `\`} {
		out, err := exec.CommandContext(t.Context(), "sh", "-c", "printf %s "+shellQuote(s)).Output()
		if err != nil || string(out) != s {
			t.Errorf("%q became %q (%v)", s, out, err)
		}
	}
}

// No word of a configuration file is needed for that.
func TestEnvironmentAllowsKeysOnly(t *testing.T) {
	all := strings.Join(environment("/d", "/usr/bin/ssh", "/d/ssh_config"), "\n")
	for _, want := range []string{" -F '/d/ssh_config'", " -o BatchMode=yes", " -o PreferredAuthentications=publickey"} {
		if !strings.Contains(all, want) {
			t.Errorf("no %q in:\n%s", want, all)
		}
	}
}
