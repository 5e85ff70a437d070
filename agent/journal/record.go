package journal

import (
	"encoding/json"
	"fmt"

	"deploykeyd/agent"
)

// maxRecord bounds a record's stored form in bytes. The largest part of one is
// a public key, which provision caps at 8 KiB before base64.
const maxRecord = 64 << 10

// encode returns r's key and value in the records bucket.
func encode(r agent.Record) (id string, value []byte, err error) {
	id = r.ID()
	if err := check(r); err != nil {
		return id, nil, err
	}
	value, err = json.Marshal(r)
	if err != nil {
		return id, nil, fmt.Errorf("%w: %w", ErrBadRecord, err)
	}
	if len(id)+len(value) > maxRecord {
		return id, nil, fmt.Errorf("%w: %d bytes, at most %d are allowed", ErrBadRecord, len(id)+len(value), maxRecord)
	}
	return id, value, nil
}

// decode reads what encode wrote. Members that this version does not know are
// ignored: within one schema a later version may add some.
func decode(id, value []byte) (agent.Record, error) {
	var r agent.Record
	if err := json.Unmarshal(value, &r); err != nil {
		return agent.Record{}, fmt.Errorf("%w %q: %w", ErrBadRecord, id, err)
	}
	if err := check(r); err != nil {
		return agent.Record{}, fmt.Errorf("record %q: %w", id, err)
	}
	if r.ID() != string(id) {
		return agent.Record{}, fmt.Errorf("%w %q: it describes %q", ErrBadRecord, id, r.ID())
	}
	return r, nil
}

// check refuses a record that could not lead back to a key on a forge.
func check(r agent.Record) error {
	for _, part := range []struct {
		what    string
		missing bool
	}{
		{"forge URL", r.ForgeURL == ""},
		{"target", r.Target.Path == ""},
		{"public key", r.Key.IsZero()},
		{"state", r.State == ""},
	} {
		if part.missing {
			return fmt.Errorf("%w: it has no %s", ErrBadRecord, part.what)
		}
	}
	return nil
}
