package unixsock_test

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/unixsock"
)

// directory is a database of users and groups that counts what it is asked.
type directory struct {
	mu            sync.Mutex
	users, groups map[string]uint32
	err           error
	asked         int
}

func (d *directory) resolver() unixsock.Resolver {
	return unixsock.Resolver{
		User:  func(_ context.Context, name string) (uint32, error) { return d.answer(d.users, name) },
		Group: func(_ context.Context, name string) (uint32, error) { return d.answer(d.groups, name) },
	}
}

func (d *directory) answer(ids map[string]uint32, name string) (uint32, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked++
	if d.err != nil {
		return 0, d.err
	}
	id, ok := ids[name]
	if !ok {
		return 0, unixsock.ErrUnknownName
	}
	return id, nil
}

// of is a peer with that uid, gid and supplementary groups.
func of(uid, gid uint32, groups ...uint32) unixsock.Peer {
	return unixsock.Peer{UID: uid, GID: gid, Groups: func(int) []uint32 { return groups }}
}

func admitted(u *unixsock.Users, uids ...uint32) map[uint32]bool {
	got := map[uint32]bool{}
	for _, id := range uids {
		got[id] = unixsock.Admits(u, unixsock.Peer{UID: id})
	}
	return got
}

func TestUsersAdmitsOnlyThoseListed(t *testing.T) {
	d := &directory{users: map[string]uint32{
		"jenkins": 1001, "bamboo": 1002, "nobody": 65534, "toor": 0, "minus": 1<<32 - 1, "4294968297": 1001,
	}}
	for name, c := range map[string]struct {
		listed []string
		want   []uint32
	}{
		"nobody listed":        {nil, nil},
		"a name":               {[]string{"jenkins"}, []uint32{1001}},
		"two names":            {[]string{"jenkins", "bamboo"}, []uint32{1001, 1002}},
		"a number":             {[]string{"1003"}, []uint32{1003}},
		"root by name":         {[]string{"root"}, []uint32{0}},
		"root by number":       {[]string{"0"}, []uint32{0}},
		"root by zeros":        {[]string{"000"}, []uint32{0}},
		"root by another name": {[]string{"toor"}, nil},
		"overflow by name":     {[]string{"nobody"}, nil},
		"overflow by number":   {[]string{"65534"}, nil},
		"no uid":               {[]string{"minus", "4294967295"}, nil},
		"unknown":              {[]string{"ghost"}, nil},
		"number out of range":  {[]string{"4294968297"}, nil}, // 2^32 + 1001: getent(1) takes it for 1001
		"an option":            {[]string{"-s", "--help", "+1001"}, nil},
	} {
		u := unixsock.NewUsers(c.listed, nil, d.resolver(), nil)
		want := map[uint32]bool{0: false, 1001: false, 1002: false, 1003: false, 65534: false, 1<<32 - 1: false}
		for _, id := range c.want {
			want[id] = true
		}
		if diff := cmp.Diff(want, admitted(u, 0, 1001, 1002, 1003, 65534, 1<<32-1)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// Users, groups and peers, against each other. Who may come in is named; all
// others may not.
func TestUsersAdmitsUsersAndGroups(t *testing.T) {
	d := &directory{
		users: map[string]uint32{"jenkins": 1001, "toor": 0, "builders": 1009},
		groups: map[string]uint32{
			"builders": 2001, "jenkins": 2009, "docker": 2002, "nogroup": 65534, "none": 1<<32 - 1, "wheel": 0,
		},
	}
	peers := map[string]unixsock.Peer{
		"root":                {},
		"root in builders":    of(0, 2001, 2001, 2002),
		"jenkins":             of(1001, 1001),
		"jenkins in builders": of(1001, 1001, 7, 2001, 9000),
		"by gid":              of(1500, 2001),
		"by gid, no list":     {UID: 1501, GID: 2001},
		"by a group":          of(1502, 1502, 27, 2001),
		"by its last group":   of(1503, 1503, 1, 2, 3, 2002),
		"gid 0":               of(1504, 0),
		"group 0":             of(1505, 1505, 0),
		"uid like the gid":    of(2001, 1506),
		"gid like the uid":    of(1507, 1001, 1001),
		"in nobody's groups":  of(1508, 65534, 65534, 1<<32-1),
		"nobody in builders":  of(65534, 2001, 2001),
		"no uid in builders":  of(1<<32-1, 2001, 2001),
		"stranger":            of(1509, 1509, 1510),
	}
	builders := []string{"jenkins in builders", "by gid", "by gid, no list", "by a group"}
	for name, c := range map[string]struct {
		users, groups []string
		want          []string
	}{
		"nothing":                        {nil, nil, nil},
		"a user":                         {[]string{"jenkins"}, nil, []string{"jenkins", "jenkins in builders"}},
		"a uid":                          {[]string{"1001"}, nil, []string{"jenkins", "jenkins in builders"}},
		"a group":                        {nil, []string{"builders"}, builders},
		"a gid":                          {nil, []string{"2001"}, builders},
		"a gid with zeros":               {nil, []string{"0002001"}, builders},
		"two groups":                     {nil, []string{"docker", "2001"}, append([]string{"by its last group"}, builders...)},
		"a user and a group":             {[]string{"jenkins"}, []string{"docker"}, []string{"jenkins", "jenkins in builders", "by its last group"}},
		"root and a group":               {[]string{"root"}, []string{"builders"}, append([]string{"root", "root in builders"}, builders...)},
		"uid 0":                          {[]string{"0"}, nil, []string{"root", "root in builders"}},
		"root by another name":           {[]string{"toor"}, []string{"2002"}, []string{"jenkins in builders", "by its last group"}[1:]},
		"group root":                     {nil, []string{"root"}, []string{"gid 0", "group 0"}},
		"gid 0":                          {nil, []string{"0"}, []string{"gid 0", "group 0"}},
		"gid 0 by another name":          {nil, []string{"wheel"}, nil},
		"a group's name among the users": {[]string{"builders"}, nil, nil},
		"a user's name among the groups": {nil, []string{"jenkins"}, nil},
		"a uid among the groups":         {nil, []string{"1001"}, []string{"jenkins", "jenkins in builders", "gid like the uid"}},
		"a gid among the users":          {[]string{"2001"}, nil, []string{"uid like the gid"}},
		"nobody's groups":                {nil, []string{"nogroup", "65534", "none", "4294967295", "-1"}, nil},
		"unknown":                        {[]string{"ghost"}, []string{"ghost", "", "bad name", "4294969297"}, nil},
	} {
		u := unixsock.NewUsers(c.users, c.groups, d.resolver(), nil)
		want, got, known := map[string]bool{}, map[string]bool{}, map[string]bool{}
		for p := range peers {
			want[p] = false
		}
		for _, p := range c.want {
			want[p] = true
		}
		for p, peer := range peers {
			got[p] = unixsock.Admits(u, peer)
		}
		for p, peer := range peers {
			known[p] = unixsock.Knows(u, peer)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if diff := cmp.Diff(want, known); diff != "" {
			t.Errorf("%s: known afterwards (-want +got):\n%s", name, diff)
		}
	}
}

// A peer's groups are not even asked for where none is listed.
func TestUsersAsksForGroupsOnlyWhenSomeAreListed(t *testing.T) {
	for name, c := range map[string]struct {
		users, groups []string
		uid           uint32
		want          bool
	}{
		"no groups":               {[]string{"1001", "jenkins"}, nil, 1500, false},
		"a group":                 {nil, []string{"2001"}, 1500, true},
		"a group, root":           {nil, []string{"2001"}, 0, false},
		"a group, the unmappable": {nil, []string{"2001"}, 65534, false},
	} {
		asked := false
		p := unixsock.Peer{UID: c.uid, Groups: func(int) []uint32 { asked = true; return nil }}
		u := unixsock.NewUsers(c.users, c.groups, (&directory{}).resolver(), nil)
		if unixsock.Admits(u, p) || asked != c.want {
			t.Errorf("%s: asked %v, want %v", name, asked, c.want)
		}
	}
}

func TestKnownAsksNobody(t *testing.T) {
	d := &directory{users: map[string]uint32{"jenkins": 1001, "toor": 0}, groups: map[string]uint32{"builders": 2001}}
	u := unixsock.NewUsers([]string{"jenkins", "1003"}, []string{"builders", "2003"}, d.resolver(), nil)
	knows := func() map[string]bool {
		return map[string]bool{
			"root": unixsock.Knows(u, of(0, 2001)), "jenkins": unixsock.Knows(u, of(1001, 1)), "by group": unixsock.Knows(u, of(1002, 1, 2001)),
			"number": unixsock.Knows(u, of(1003, 1)), "group number": unixsock.Knows(u, of(1004, 1, 2003)), "stranger": unixsock.Knows(u, of(1005, 1)),
		}
	}
	want := map[string]bool{
		"root": false, "jenkins": false, "by group": false, "number": true, "group number": true, "stranger": false,
	}
	if diff := cmp.Diff(want, knows()); diff != "" || d.asked != 0 {
		t.Errorf("before a look-up, %d asked (-want +got):\n%s", d.asked, diff)
	}
	if err := u.Refresh(t.Context()); err != nil {
		t.Fatal(err)
	}
	want["jenkins"], want["by group"] = true, true
	if diff := cmp.Diff(want, knows()); diff != "" || d.asked != 2 {
		t.Errorf("after it, %d asked (-want +got):\n%s", d.asked, diff)
	}
	if !unixsock.Knows(unixsock.NewUsers([]string{"root"}, nil, unixsock.Resolver{}, nil), unixsock.Peer{}) {
		t.Error("root that is listed is not known")
	}
}

func TestRefreshNamesThoseThatMeanNobody(t *testing.T) {
	d := &directory{
		users:  map[string]uint32{"jenkins": 1001, "toor": 0},
		groups: map[string]uint32{"builders": 2001, "crowd": 65534},
	}
	u := unixsock.NewUsers([]string{"jenkins", "ghost", "bad name", "1003", "toor"}, []string{"builders", "spirits", "2003", "crowd"},
		d.resolver(), nil)
	err := u.Refresh(t.Context())
	if !errors.Is(err, unixsock.ErrUnknownName) {
		t.Fatal(err)
	}
	for name, want := range map[string]bool{
		`user "ghost"`: true, `user "bad name"`: true, `user "toor"`: true, `group "spirits"`: true, `group "crowd"`: true,
		`"jenkins"`: false, strconv.Quote("1003"): false, `"builders"`: false, strconv.Quote("2003"): false,
	} {
		if got := strings.Contains(err.Error(), name); got != want {
			t.Errorf("%s named: %v, want %v: %v", name, got, want, err)
		}
	}
}
