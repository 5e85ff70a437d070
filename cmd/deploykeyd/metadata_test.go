package main_test

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const metadataRules = "../../packaging/nftables/deploykeyd-metadata.nft"

// cloudNetwork is a machine between its cloud and a container.
type cloudNetwork struct{ cloud, machine, container network }

// metadataAddresses are the services, as an URL has them.
func metadataAddresses() []string {
	return []string{"169.254.169.254", "168.63.129.16", "[fd00:ec2::254]", "[fd20:ce::254]"}
}

func newCloudNetwork(t *testing.T) cloudNetwork {
	t.Helper()
	c := cloudNetwork{newNetwork(t), newNetwork(t), newNetwork(t)}
	c.machine.join(t, c.cloud, "uplink", "198.51.100.2/24 2001:db8:1::2/64", "198.51.100.1/24 2001:db8:1::1/64")
	c.machine.join(t, c.container, "bridge", "192.0.2.1/24 2001:db8:2::1/64", "192.0.2.2/24 2001:db8:2::2/64")
	c.cloud.address(t, "lo", "169.254.169.254/32 168.63.129.16/32 203.0.113.1/32 fd00:ec2::254/128 fd20:ce::254/128")
	for _, route := range []struct {
		at  network
		via string
	}{
		{c.machine, "198.51.100.1"},
		{c.machine, "2001:db8:1::1"},
		{c.container, "192.0.2.1"},
		{c.container, "2001:db8:2::1"},
		{c.cloud, "198.51.100.2"},
		{c.cloud, "2001:db8:1::2"},
	} {
		route.at.must(t, "ip", "route", "add", "default", "via", route.via)
	}
	c.machine.must(t, "sh", "-c", "echo 1 >/proc/sys/net/ipv4/ip_forward; echo 1 >/proc/sys/net/ipv6/conf/all/forwarding")
	for _, address := range []string{":80", ":53", ":32526"} {
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = fmt.Fprint(w, "secret") })}
		l := c.cloud.listen(t, address)
		go func() { _ = server.Serve(l) }()
		t.Cleanup(func() { _ = server.Close() })
	}
	return c
}

// closed loads the shipped rules, with users that every system has.
func (c cloudNetwork) closed(t *testing.T) {
	t.Helper()
	text, err := os.ReadFile(metadataRules)
	if err != nil {
		t.Fatal(err)
	}
	const shipped, here = "{ root, deploykeyd }", "{ root, " + listedUser + " }"
	if n := bytes.Count(text, []byte(shipped)); n != 1 {
		t.Fatalf("%s is there %d times", shipped, n)
	}
	path := filepath.Join(t.TempDir(), "metadata.nft")
	if err := os.WriteFile(path, bytes.Replace(text, []byte(shipped), []byte(here), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	c.machine.must(t, "nft", "-f", path)
}

// asks reports whether somebody in a network gets an answer from a URL.
func asks(t *testing.T, n network, user, url string) bool {
	t.Helper()
	status, stdout, stderr := finish(t, n.command(t, "setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--",
		"curl", "--silent", "--show-error", "--noproxy", "*", "--max-time", "20", url))
	if status == 28 {
		t.Errorf("%s at %s waited in vain: %s", user, url, stderr)
	}
	return status == 0 && stdout == "secret"
}

func TestMetadataAddressIsClosedToBuildUsers(t *testing.T) {
	t.Parallel()
	c := newCloudNetwork(t)
	for _, address := range metadataAddresses() { // that it is the rules that close them
		if !asks(t, c.machine, otherUser, "http://"+address) || !asks(t, c.container, "root", "http://"+address) {
			t.Fatalf("%s cannot be reached without rules", address)
		}
	}
	c.closed(t)
	for _, address := range metadataAddresses() {
		url := "http://" + address + "/latest/meta-data/"
		for user, may := range map[string]bool{"root": true, listedUser: true, otherUser: false, "nobody": false} {
			if got := asks(t, c.machine, user, url); got != may {
				t.Errorf("%s reaches %s: %v", user, url, got)
			}
		}
		for _, user := range []string{"root", listedUser, otherUser} {
			if asks(t, c.container, user, url) {
				t.Errorf("%s of a container reaches %s", user, url)
			}
		}
	}
	for url, what := range map[string]string{"http://169.254.169.254:53": "the name server", "http://203.0.113.1": "another address"} {
		if !asks(t, c.machine, otherUser, url) || !asks(t, c.container, "root", url) {
			t.Errorf("%s is closed too", what)
		}
	}
	if asks(t, c.machine, otherUser, "http://168.63.129.16:32526") {
		t.Error("the second port of Azure's host agent is open")
	}
}

// A connection that was allowed lives to its end, though its last packets have
// no owner any more.
func TestMetadataRulesLetConnectionsEnd(t *testing.T) {
	t.Parallel()
	c := newCloudNetwork(t)
	c.closed(t)
	if !asks(t, c.machine, listedUser, "http://169.254.169.254") {
		t.Fatal("the daemon's user is not let through")
	}
	if rules := c.machine.must(t, "nft", "list", "table", "inet", "deploykeyd_metadata"); strings.Count(rules, "counter packets 0 ") != 3 {
		t.Errorf("packets of an allowed connection were refused: %s", rules)
	}
}

// Loading again replaces the rules and touches no others.
func TestMetadataRulesLoadTwice(t *testing.T) {
	t.Parallel()
	c := newCloudNetwork(t)
	c.machine.must(t, "nft", "add", "table", "inet", "other")
	c.closed(t)
	once := c.machine.must(t, "nft", "list", "ruleset")
	c.closed(t)
	if twice := c.machine.must(t, "nft", "list", "ruleset"); once != twice || !strings.Contains(twice, "table inet other") {
		t.Errorf("loaded once:\n%s\nand twice:\n%s", once, twice)
	}
}

// Rules that name a user who does not exist are not loaded in part.
func TestMetadataRulesOfAnUnknownUser(t *testing.T) {
	t.Parallel()
	n := newNetwork(t)
	text, err := os.ReadFile(metadataRules)
	if err != nil {
		t.Fatal(err)
	}
	load := n.command(t, "nft", "-f", "-")
	load.Stdin = bytes.NewReader(bytes.Replace(text, []byte("root, deploykeyd"), []byte("root, no-such-user"), 1))
	if status, _, stderr := finish(t, load); status == 0 || !strings.Contains(stderr, "no-such-user") {
		t.Errorf("exit status %d: %s", status, stderr)
	}
	if rules := n.must(t, "nft", "list", "ruleset"); rules != "" {
		t.Errorf("loaded in part: %s", rules)
	}
}

func TestMetadataUnit(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "deploykeyd-metadata.service")
	unit, err := os.ReadFile("../../packaging/nftables/deploykeyd-metadata.service")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, unit, 0o600); err != nil {
		t.Fatal(err)
	}
	if status, said := analyze(t, "verify", "--man=no", path); status != 0 || said != "" {
		t.Errorf("verify: exit status %d: %s", status, said)
	}
}
