package forgesim

import (
	"strconv"
	"strings"
	"time"

	"deploykeyd/provision"
)

// store is the model that all dialects speak about. Its owner guards it.
type store struct {
	repositories map[string]*repository // by lower-case path
	order        []*repository
	moved        map[string]*repository // by the lower-case path it had before
	keys         []*deployKey           // in the order of their ids
	rows         map[provision.PublicKey]*keyRow
	accountKeys  map[provision.PublicKey]bool
	reserved     map[provision.PublicKey]bool
	reserving    bool // deleted keys stay reserved
	forbidden    bool // deploy keys are switched off by policy
	tokens       map[string]*Token
	apps         []*app               // GitHub
	consumers    map[string]*consumer // Bitbucket Cloud
	lfsGrants    map[string]lfsGrant  // by Authorization header
	lastKey      int64
	lastRow      int64
}

// repository is a repository of the model. Its fields never change, except
// path by a rename.
type repository struct {
	id      int64
	path    string
	options RepositoryOptions
	gitDir  string
	created time.Time
	// Names that never change, in braces.
	uuid, ownerUUID string
}

// owner returns the part of the path before the slash.
func (r *repository) owner() string { return provision.Repository(r.path).Owner() }

func (r *repository) name() string { return provision.Repository(r.path).Name() }

// keyRow is one public key as the forge keeps it once, whatever number of
// repositories it is on.
type keyRow struct {
	id   int64
	key  provision.PublicKey
	text string // as it was first sent, trimmed
	name string // the title it was first given
}

// deployKey is one key on one repository.
type deployKey struct {
	id         int64
	row        *keyRow
	repository *repository
	title      string
	comment    string
	access     provision.Access
	created    time.Time // by the forge's clock, which a fault may have moved
	registered time.Time // by the true clock
	token      *Token    // that made it; nil for AddKey
	used       time.Time // zero until a git command has used it
	dead       bool      // on every list, but no longer known to SSH
}

// firstKey keeps the ids of keys apart from those of rows, or a client that
// mistook one for the other would be right by chance.
const firstKey = 100

func newStore() store {
	return store{
		repositories: map[string]*repository{}, moved: map[string]*repository{},
		rows: map[provision.PublicKey]*keyRow{}, accountKeys: map[provision.PublicKey]bool{},
		reserved: map[provision.PublicKey]bool{}, tokens: map[string]*Token{},
		consumers: map[string]*consumer{}, lfsGrants: map[string]lfsGrant{},
		lastKey: firstKey,
	}
}

// find returns the repository at path, and whether path is a name that it no
// longer has.
func (s *store) find(path string) (r *repository, moved bool) {
	p := strings.ToLower(path)
	if r := s.repositories[p]; r != nil {
		return r, false
	}
	if strings.ContainsAny(p, "#{") {
		return s.findByID(p), false
	}
	return s.moved[p], s.moved[p] != nil
}

// findByID returns the repository that "#id" names (GitHub's form), or a path
// whose parts may be UUIDs in braces (Bitbucket Cloud's), or nil.
func (s *store) findByID(p string) *repository {
	for _, r := range s.order {
		if p == "#"+strconv.FormatInt(r.id, 10) {
			return r
		}
		owner, name, _ := strings.Cut(p, "/")
		if (owner == strings.ToLower(r.owner()) || owner == r.ownerUUID) && (name == strings.ToLower(r.name()) || name == r.uuid) {
			return r
		}
	}
	return nil
}

// hasOwner reports whether any repository belongs to owner.
func (s *store) hasOwner(owner string) bool {
	for _, r := range s.order {
		if strings.EqualFold(r.owner(), owner) {
			return true
		}
	}
	return false
}

// keysOf returns the keys on r, by id.
func (s *store) keysOf(r *repository) []*deployKey {
	var found []*deployKey
	for _, k := range s.keys {
		if k.repository == r {
			found = append(found, k)
		}
	}
	return found
}

// keyByID returns the key with that id anywhere on the forge, or nil.
func (s *store) keyByID(id int64) *deployKey {
	for _, k := range s.keys {
		if k.id == id {
			return k
		}
	}
	return nil
}

// clash says where a key or title is taken already. The dialects differ in
// which of it they mind.
type clash struct {
	here, elsewhere, account, title, reserved bool
}

func (s *store) clash(r *repository, key provision.PublicKey, title string) clash {
	c := clash{account: s.accountKeys[key], reserved: s.reserving && s.reserved[key]}
	for _, k := range s.keys {
		same := k.row.key == key
		c.here = c.here || same && k.repository == r
		c.elsewhere = c.elsewhere || same && k.repository != r
		c.title = c.title || k.repository == r && k.title == title
	}
	return c
}

// add puts a key on a repository. The caller has looked at clash.
func (s *store) add(k deployKey, key provision.PublicKey, text string) *deployKey {
	row := s.rows[key]
	if row == nil {
		s.lastRow++
		row = &keyRow{id: s.lastRow, key: key, text: text, name: k.title}
		s.rows[key] = row
	}
	s.lastKey++
	k.id, k.row = s.lastKey, row
	s.keys = append(s.keys, &k)
	return &k
}

// remove takes one key off its repository, and forgets the row with the last.
func (s *store) remove(gone *deployKey) {
	var keep []*deployKey
	last := true
	for _, k := range s.keys {
		if k == gone {
			continue
		}
		keep = append(keep, k)
		last = last && k.row != gone.row
	}
	s.keys = keep
	if last {
		delete(s.rows, gone.row.key)
		s.reserved[gone.row.key] = true
	}
}
