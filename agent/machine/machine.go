package machine

import (
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
	// Weak is true where ID rests on the machine-id alone: a cloned disk
	// carries it to another machine, which may be alive.
	Weak bool
}

// Options adjust Identify. The zero value is ready to use.
type Options struct {
	Override string // the configuration's machine:, used before anything else
	Root     string // the folder that stands for / ; "" is / itself
}

// Identify returns who this machine is: by the configuration's word, else by
// cloud-init's instance-id, else by machine-id and the DMI product uuid, else by
// the machine-id alone.
func Identify(o Options) (Machine, error) {
	root := o.Root
	if root == "" {
		root = "/"
	}
	files := files{root: root}
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
	instance, err := instanceID(files)
	if err == nil {
		return Machine{ID: instance, Source: "cloud-init instance-id"}, nil
	}
	id, idErr := machineID(files)
	if idErr != nil {
		return Machine{}, errors.Join(err, idErr)
	}
	uuid, err := productUUID(files)
	if err != nil {
		return Machine{ID: hashed(id), Source: "machine-id", Weak: true}, nil //nolint:nilerr // Weak says so
	}
	return Machine{ID: hashed(id, uuid), Source: "machine-id and DMI product uuid"}, nil
}

// idPattern is what the ID of a Machine may look like; an owner tag shortens it
// further where it must.
var idPattern = regexp.MustCompile(`^[A-Za-z0-9._-]{1,64}$`)

// instanceFile is documented as holding the id of the instance that this boot
// is (cloud-init, "Where are the logs and files").
const instanceFile = "var/lib/cloud/data/instance-id"

// genericInstances are ids that many machines have at once: what cloud-init
// falls back to without a data source, and the examples of its documentation
// for hand-made seeds, which people copy.
func genericInstances() []string {
	return []string{
		"iid-datasource-none", "nocloud", "iid-nocloud", "iid-local01", "iid-local02",
		"someid", "someid/somehostname", "none", "localhost", "unknown", "default",
	}
}

func instanceID(files files) (string, error) {
	id, err := files.line(instanceFile)
	if err != nil {
		return "", err
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

// productUUID reads the DMI product uuid, a file that root alone may read.
func productUUID(files files) (string, error) {
	uuid, err := files.line("sys/class/dmi/id/product_uuid")
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
