//go:build linux

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"deploykeyd/agent"
	"deploykeyd/agent/key/keyscan"
	"deploykeyd/provision"
)

// cloneURL returns the URL that a person would find on the forge's page.
func (d *demo) cloneURL(ctx context.Context, r agent.RepositoryStatus) (string, error) {
	state, err := d.state(ctx)
	if err != nil {
		return "", err
	}
	address, err := provision.ParseSSHAddress(state.Forges[r.Kind].SSH)
	if err != nil {
		return "", err
	}
	return address.CloneURL(r.Repository), nil
}

func (d *demo) cloneDir(a account, r agent.RepositoryStatus) string {
	return d.path(a.name, r.Forge+"-"+strings.ReplaceAll(string(r.Repository), "/", "-"))
}

// git runs git as the account, the way a build does: no flags, no key, no
// environment of ours.
func (d *demo) git(ctx context.Context, a account, dir string, args ...string) (string, error) {
	c := d.as(a, exec.CommandContext(ctx, "git", args...))
	if dir != "" {
		c.Dir = dir
	}
	return output(c)
}

func (d *demo) cloneAll(ctx context.Context) error {
	for _, r := range d.status.Repositories {
		url, err := d.cloneURL(ctx, r)
		if err != nil {
			return err
		}
		began := time.Now()
		dir := d.cloneDir(buildUser, r)
		d.command(buildUser.name, "git clone "+url)
		if _, err := d.git(ctx, buildUser, "", "clone", "--quiet", url, dir); err != nil {
			return err
		}
		head, err := d.git(ctx, buildUser, dir, "log", "-1", "--format=%h %s")
		if err != nil {
			return err
		}
		d.say("  %s  (%.2f s)", head, time.Since(began).Seconds())
	}
	return nil
}

func (d *demo) pushTags(ctx context.Context) error {
	pushed, refused := 0, 0
	for _, r := range d.status.Repositories {
		dir := d.cloneDir(buildUser, r)
		if _, err := d.git(ctx, buildUser, dir, "tag", "v1.0.1"); err != nil {
			return err
		}
		d.command(buildUser.name, fmt.Sprintf("git push origin v1.0.1    # %s on %s, access: %s", r.Repository, r.Forge, r.Access))
		said, err := d.git(ctx, buildUser, dir, "push", "origin", "v1.0.1")
		if (err == nil) != (r.Access == provision.Write) {
			return fmt.Errorf("access is %s, and the push ended with %w", r.Access, err)
		}
		if err == nil {
			pushed++
			d.say("  %s", lastLine(said))
			continue
		}
		words := forgeWords(said)
		if words == "" {
			return fmt.Errorf("refused, but not in the forge's words: %s", said)
		}
		refused++
		d.say("  refused: %s", words)
	}
	if pushed == 0 || refused == 0 {
		return fmt.Errorf("%d pushed and %d refused: both must be shown", pushed, refused)
	}
	return nil
}

// forgeWords returns the line in which one of the three forges says that a key
// may not push.
func forgeWords(said string) string {
	for line := range strings.Lines(said) {
		for _, words := range []string{"is not authorized to write", "marked as read only", "denied to deploy key", "deployment key is read-only"} {
			if strings.Contains(line, words) {
				return strings.TrimSpace(line)
			}
		}
	}
	return ""
}

func lastLine(said string) string {
	return strings.TrimSpace(said[strings.LastIndexByte(said, '\n')+1:])
}

func (d *demo) refuseOthers(ctx context.Context) error {
	url, err := d.cloneURL(ctx, d.status.Repositories[0])
	if err != nil {
		return err
	}
	// The builds' ssh configuration holds for listed users. Here both users are
	// given it, so that what turns one away is the socket and not a missing line.
	ssh := "core.sshCommand=ssh -o IdentityAgent=" + d.path("run", "agent.sock") +
		" -o UserKnownHostsFile=" + knownHosts + " -o StrictHostKeyChecking=yes"
	if _, err := d.git(ctx, buildUser, "", "-c", ssh, "ls-remote", url); err != nil {
		return fmt.Errorf("the same command does not work for the user who is listed: %w", err)
	}
	d.command(otherUser.name, "git ls-remote "+url)
	said, err := d.git(ctx, otherUser, "", "-c", ssh, "ls-remote", url)
	if err == nil {
		return errors.New("git got in")
	}
	if !strings.Contains(said, "Permission denied (publickey)") {
		return fmt.Errorf("refused for another reason: %w", err)
	}
	d.say("  %s", firstLineWith(said, "Permission denied"))
	return nil
}

func firstLineWith(said, words string) string {
	for line := range strings.Lines(said) {
		if strings.Contains(line, words) {
			return strings.TrimSpace(line)
		}
	}
	return ""
}

// scanFiles takes the private keys out of the daemon's memory, as only root
// can, and looks for any part of them in every file that changed since the demo
// began. A planted copy must be found first, or the search proves nothing.
func (d *demo) scanFiles(ctx context.Context) error {
	secrets, err := d.extractKeys(ctx)
	if err != nil {
		return err
	}
	d.say("%d private keys found in the daemon's memory by root", len(secrets))
	if err := d.logins(ctx, true); err != nil {
		return err
	}
	d.say("each of them opens its forge's SSH, as root could abuse it")
	planted := map[string][]byte{"raw": secrets[0].Raw(), "base64": secrets[0].Base64(), "hex": secrets[0].Hex()}
	for form, text := range planted {
		if err := os.WriteFile(d.path("build", "planted-"+form), text, 0o600); err != nil {
			return err
		}
	}
	report, err := keyscan.Search(ctx, d.dir, d.start.Add(-time.Minute), secrets...)
	if err != nil {
		return err
	}
	if len(report.Hits) != len(planted) {
		return fmt.Errorf("%d of %d planted copies were found, in %v", len(report.Hits), len(planted), report.Hits)
	}
	d.say("%d planted copies, raw, base64 and hex, were found: the search works", len(planted))
	for form := range planted {
		if err := os.Remove(d.path("build", "planted-"+form)); err != nil {
			return err
		}
	}
	return d.searchEverywhere(ctx, secrets)
}

func (d *demo) searchEverywhere(ctx context.Context, secrets []*keyscan.Secret) error {
	report, err := keyscan.Search(ctx, "/", d.start.Add(-time.Minute), secrets...)
	if err != nil {
		return err
	}
	process, err := keyscan.SearchProcess(d.agent.pid(), secrets...)
	if err != nil {
		return err
	}
	if hits := slices.Concat(report.Hits, process.Hits); len(hits) > 0 {
		return fmt.Errorf("parts of a private key are in %v", hits)
	}
	d.say("%d files of this machine looked at, %d of them (%.1f MB) changed since the start and were read, and %d of the daemon's own: no part of any key",
		report.Looked, report.Read, float64(report.Bytes)/1e6, process.Read)
	return nil
}

func (d *demo) extractKeys(ctx context.Context) ([]*keyscan.Secret, error) {
	state, err := d.state(ctx)
	if err != nil {
		return nil, err
	}
	found := map[provision.PublicKey]*keyscan.Secret{}
	for _, f := range state.Forges {
		for _, k := range f.Keys {
			if found[k.Key] != nil {
				continue
			}
			secret, err := keyscan.Extract(d.agent.pid(), k.Key.Blob())
			if err != nil {
				return nil, fmt.Errorf("%s: %w", k.Key.Fingerprint(), err)
			}
			found[k.Key] = secret
		}
	}
	if len(found) == 0 {
		return nil, errors.New("the forges list no key")
	}
	d.secrets = found
	return slices.Collect(maps.Values(found)), nil
}

func (d *demo) stopDaemon(context.Context) error {
	status, err := d.agent.stop(30 * time.Second)
	if err != nil {
		return err
	}
	d.agent = nil
	if status != 0 {
		return fmt.Errorf("the daemon's exit status is %d", status)
	}
	d.say("exit status 0")
	return nil
}

func (d *demo) nothingLeft(ctx context.Context) error {
	state, err := d.state(ctx)
	if err != nil {
		return err
	}
	for _, kind := range slices.Sorted(maps.Keys(state.Forges)) {
		keys := state.Forges[kind].Keys
		d.say("%-16s %d keys", kind, len(keys))
		if len(keys) > 0 {
			return fmt.Errorf("%s still lists %v", kind, keys)
		}
	}
	if err := d.logins(ctx, false); err != nil {
		return err
	}
	d.say("SSH refuses each of the keys, even to root who took them out of the memory before")
	return nil
}
