package machine

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"slices"
	"strings"
)

// Machine is who this machine is, in this boot.
type Machine struct {
	ID     string // letters, digits and . _ - ; stable over reboots
	Source string // what ID was made from, for messages
	Boot   string // the kernel's id of this boot
	// Weak is true where ID rests on the disk alone, on the machine-id or on an
	// instance-id that may be of an earlier boot: a cloned disk carries both to
	// another machine, which may be alive.
	Weak bool
}

// Options adjust Identify. The zero value is ready to use.
type Options struct {
	Override string // the configuration's machine:, used before anything else
	Root     string // the folder that stands for / ; "" is / itself
	// Credentials is the folder in which the service manager hands the unit what
	// its user cannot read itself (systemd.exec(5), LoadCredential=): the DMI
	// product uuid, under the name product_uuid. "" is none.
	Credentials string
}

// Identify returns who this machine is: by the configuration's word, else by the
// instance-id that cloud-init found in this boot, else by machine-id and the DMI
// product uuid, else weakly by the instance-id that cloud-init left on the disk,
// else weakly by the machine-id alone.
func Identify(o Options) (Machine, error) {
	root := o.Root
	if root == "" {
		root = "/"
	}
	files := files{root: root, credentials: o.Credentials}
	m, err := identify(files, o.Override)
	if err != nil {
		return Machine{}, fmt.Errorf("identify this machine: %w: set machine: in the configuration to a name that no other machine has", err)
	}
	m.Boot, err = bootID(files)
	if err != nil {
		return Machine{}, fmt.Errorf("identify this boot: %w", err)
	}
	return m, nil
}

func identify(files files, override string) (Machine, error) {
	if override != "" {
		if !idPattern.MatchString(override) {
			return Machine{}, fmt.Errorf("machine: %.80q is no usable name: only letters, digits and . _ - are allowed", override)
		}
		return Machine{ID: override, Source: "machine: in the configuration"}, nil
	}
	instance, proofErr := bootInstanceID(files)
	if proofErr == nil {
		return Machine{ID: instance, Source: "cloud-init instance-id"}, nil
	}
	id, idErr := machineID(files)
	uuid, uuidErr := productUUID(files)
	// The uuid is the one thing here that no disk carries: it makes the
	// machine-id stronger than an instance-id of unknown age.
	if idErr == nil && uuidErr == nil {
		return Machine{ID: hashed(id, uuid), Source: "machine-id and DMI product uuid"}, nil
	}
	// Of the two that a disk carries, cloud-init renews the one on each machine
	// that it runs on; the machine-id is renewed only by who seals an image well.
	instance, diskErr := diskInstanceID(files)
	if diskErr == nil && errors.Is(proofErr, fs.ErrNotExist) {
		return Machine{ID: instance, Source: "cloud-init instance-id, perhaps of an earlier boot", Weak: true}, nil
	}
	if idErr != nil {
		return Machine{}, errors.Join(proofErr, diskErr, idErr)
	}
	return Machine{ID: hashed(id), Source: "machine-id", Weak: true}, nil
}

// idPattern is what the ID of a Machine may look like; an owner tag shortens it
// further where it must.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// genericInstances are ids that many machines have at once: what cloud-init
// falls back to without a data source, and the examples of its documentation
// for hand-made seeds, which people copy.
func genericInstances() []string {
	return []string{
		"iid-datasource-none", "nocloud", "iid-nocloud", "iid-local01", "iid-local02",
		"someid", "someid/somehostname", "none", "localhost", "unknown", "default",
	}
}

// bootInstanceID returns the id that cloud-init found for this boot: /run is
// empty at its beginning. The file is cloud-init's standardised instance data,
// of which anybody may read this part (cloud-init, "Instance metadata").
func bootInstanceID(files files) (string, error) {
	const file = "run/cloud-init/instance-data.json"
	text, err := files.read(file, maxInstanceData)
	if err != nil {
		return "", err
	}
	var data struct {
		V1 struct {
			ID  string `json:"instance_id"`
			Old string `json:"instance-id"` // the same under the name that it had first
		} `json:"v1"`
	}
	if json.Unmarshal(text, &data) != nil {
		return "", fmt.Errorf("/%s is not the JSON that cloud-init writes", file)
	}
	return instanceID(cmp.Or(data.V1.ID, data.V1.Old))
}

// diskInstanceID returns the id that cloud-init left on the disk. Its folder is
// documented as being of the previous boot (cloud-init, "Where are the logs and
// files"): an image that was sealed without "cloud-init clean" carries the id of
// the machine that it was made on.
func diskInstanceID(files files) (string, error) {
	id, err := files.line("var/lib/cloud/data/instance-id")
	if err != nil {
		return "", err
	}
	return instanceID(id)
}

// instanceID returns an instance-id in a form that can be an ID.
func instanceID(id string) (string, error) {
	if id == "" {
		return "", errors.New("cloud-init names no instance-id")
	}
	if slices.Contains(genericInstances(), strings.ToLower(id)) {
		return "", fmt.Errorf("the cloud-init instance-id %q is not this machine's alone", id)
	}
	if !idPattern.MatchString(id) {
		return hashed(id), nil
	}
	return id, nil
}

var machineIDPattern = regexp.MustCompile(`^[0-9a-f]{32}$`)

// machineID reads machine-id(5). Before the first boot is over it may hold the
// word "uninitialized".
func machineID(files files) (string, error) {
	id, err := files.line("etc/machine-id")
	if errors.Is(err, fs.ErrNotExist) {
		id, err = files.line("var/lib/dbus/machine-id")
	}
	if err != nil {
		return "", err
	}
	if !machineIDPattern.MatchString(id) || strings.Trim(id, id[:1]) == "" {
		return "", errors.New("/etc/machine-id holds no machine-id")
	}
	return id, nil
}

var uuidPattern = regexp.MustCompile(`^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$`)

// genericUUIDs are what boards report whose maker never set a uuid.
func genericUUIDs() []string {
	return []string{
		"03000200-0400-0500-0006-000700080009", // the AMI reference BIOS
		"00020003-0004-0005-0006-000700080009", // the same in the other byte order
		"12345678-1234-5678-90ab-cddeefaabbcc",
		"12345678-90ab-cdef-1234-567890abcdef",
	}
}

// productUUID reads the DMI product uuid: as the service manager handed it in,
// else from the kernel's file, which root alone may read.
func productUUID(files files) (string, error) {
	uuid, err := files.credential("product_uuid")
	if err != nil {
		uuid, err = files.line("sys/class/dmi/id/product_uuid")
	}
	if err != nil {
		return "", err
	}
	uuid = strings.ToLower(uuid)
	if !uuidPattern.MatchString(uuid) || slices.Contains(genericUUIDs(), uuid) ||
		strings.Trim(uuid, uuid[:1]+"-") == "" {
		return "", fmt.Errorf("the DMI product uuid is not this machine's alone")
	}
	return uuid, nil
}

// bootID reads the kernel's random id of this boot (random(4)).
func bootID(files files) (string, error) {
	const file = "proc/sys/kernel/random/boot_id"
	id, err := files.line(file)
	if err != nil {
		return "", err
	}
	if !uuidPattern.MatchString(id) {
		return "", fmt.Errorf("/%s holds no boot id", file)
	}
	return id, nil
}
