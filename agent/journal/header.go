package journal

import (
	"fmt"
	"regexp"
	"strconv"
	"time"
)

// header is what the meta bucket says about the whole journal.
type header struct {
	machine string
	created time.Time
}

// machinePattern is what a machine id may look like. It keeps an id that was
// read from a file harmless as a part of a file name.
var machinePattern = regexp.MustCompile(`^[A-Za-z0-9._-]+$`)

const longestMachine = 128

func isMachine(id string) bool { return len(id) <= longestMachine && machinePattern.MatchString(id) }

func (h header) values() map[string]string {
	return map[string]string{
		schemaKey:  strconv.Itoa(schema),
		machineKey: h.machine,
		createdKey: h.created.UTC().Format(time.RFC3339),
	}
}

// parseHeader reads the values of a meta bucket. Of a newer schema it trusts
// nothing but the number.
func parseHeader(values map[string]string) (header, error) {
	version, err := strconv.ParseUint(values[schemaKey], 10, 32)
	if err != nil || version == 0 {
		return header{}, damaged("its schema version is %.20q", values[schemaKey])
	}
	if version > schema {
		return header{}, fmt.Errorf("%w: schema %d, this one knows %d", ErrNewerSchema, version, schema)
	}
	h := header{machine: values[machineKey]}
	if !isMachine(h.machine) {
		return header{}, damaged("its machine is %.20q", values[machineKey])
	}
	h.created, err = time.Parse(time.RFC3339, values[createdKey])
	if err != nil {
		return header{}, damaged("its creation time is %.40q", values[createdKey])
	}
	return h, nil
}
