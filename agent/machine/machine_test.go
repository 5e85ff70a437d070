package machine_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"deploykeyd/agent/machine"
)

const (
	instance = "var/lib/cloud/data/instance-id"
	booted   = "run/cloud-init/instance-data.json"
	id       = "etc/machine-id"
	uuid     = "sys/class/dmi/id/product_uuid"
	boot     = "proc/sys/kernel/random/boot_id"

	someID    = "4fdb1dd9b4a94b4f8b1d0d3ae5a0a6d1\n"
	someUUID  = "EC2F3A61-0DC1-4C5B-9E64-6D9A6B5F7C10\n"
	someBoot  = "9b3a4f7e-3d5c-4d43-a8a7-8b5a6a4c1f00"
	byID      = "machine-id"
	byBoth    = "machine-id and DMI product uuid"
	byCloud   = "cloud-init instance-id"
	byDisk    = "cloud-init instance-id, perhaps of an earlier boot"
	idAlone   = "m-3cc052a4d8580a3c2e3f"
	idAndUUID = "m-6e62dd47c707707c34fe"
)

// found is what cloud-init writes of an instance that it found in this boot.
func found(id string) string {
	return `{"base64_encoded_keys":[],"ds":{"meta_data":{"instance-id":"other"}},"sensitive_keys":["ds/user_data"],` +
		`"v1":{"_beta_keys":["subplatform"],"cloud_id":"aws","instance-id":"` + id + `","instance_id":"` + id + `","region":"eu-1"}}`
}

// root returns a folder with the given files, and a boot id unless given.
func root(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	if _, ok := files[boot]; !ok {
		write(t, dir, boot, someBoot+"\n")
	}
	for name, text := range files {
		write(t, dir, name, text)
	}
	return dir
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	path := filepath.Join(dir, filepath.FromSlash(name))
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

func identify(t *testing.T, override string, files map[string]string) (machine.Machine, error) {
	t.Helper()
	return machine.Identify(machine.Options{Override: override, Root: root(t, files)})
}

func TestIdentify(t *testing.T) {
	for name, test := range map[string]struct {
		override string
		files    map[string]string
		want     machine.Machine
	}{
		"the configuration first": {
			"builder-7",
			map[string]string{instance: "i-0abc\n", id: someID, uuid: someUUID},
			machine.Machine{ID: "builder-7", Source: "machine: in the configuration"},
		},
		"cloud-init": {
			"",
			map[string]string{booted: found("i-0abc123"), instance: "i-0abc123\n", id: someID, uuid: someUUID},
			machine.Machine{ID: "i-0abc123", Source: byCloud},
		},
		"cloud-init by the newer name alone": {
			"",
			map[string]string{booted: `{"v1":{"instance_id":"i-0abc123"}}`, instance: "i-0abc123\n"},
			machine.Machine{ID: "i-0abc123", Source: byCloud},
		},
		"cloud-init by the older name alone": {
			"",
			map[string]string{booted: `{"v1":{"instance-id":"i-0abc123"}}`, instance: "i-0abc123\n"},
			machine.Machine{ID: "i-0abc123", Source: byCloud},
		},
		"cloud-init with much metadata": {
			"",
			map[string]string{booted: found("i-0abc123") + strings.Repeat(" ", 2<<20), instance: "i-0abc123\n"},
			machine.Machine{ID: "i-0abc123", Source: byCloud},
		},
		"cloud-init, an id that cannot stand in a tag": {
			"",
			map[string]string{booted: found("ocid1:x/y z"), instance: "ocid1:x/y z\n"},
			machine.Machine{ID: "m-bf9c9ec46e82688c90f6", Source: byCloud},
		},
		"a disk that another machine was sealed on": {
			"",
			map[string]string{booted: found("i-0new"), instance: "i-0old\n", id: someID},
			machine.Machine{ID: "i-0new", Source: byCloud},
		},
		"an instance that this boot does not prove": {
			"",
			map[string]string{instance: "i-0old\n", id: someID, uuid: someUUID},
			machine.Machine{ID: idAndUUID, Source: byBoth},
		},
		"an instance that nothing proves": {
			"",
			map[string]string{instance: "i-0old\n", id: someID},
			machine.Machine{ID: "i-0old", Source: byDisk, Weak: true},
		},
		"an instance that this boot contradicts": {
			"",
			map[string]string{booted: found("iid-datasource-none"), instance: "i-0old\n", id: someID},
			machine.Machine{ID: idAlone, Source: byID, Weak: true},
		},
		"machine-id and uuid": {
			"",
			map[string]string{id: someID, uuid: someUUID},
			machine.Machine{ID: idAndUUID, Source: byBoth},
		},
		"the generic instance does not count": {
			"",
			map[string]string{booted: found("iid-datasource-none"), instance: "iid-datasource-none\n", id: someID, uuid: someUUID},
			machine.Machine{ID: idAndUUID, Source: byBoth},
		},
		"nor does the one of a hand-made seed": {
			"",
			map[string]string{booted: found("NoCloud"), instance: "NoCloud\n", id: someID, uuid: strings.ToLower(someUUID)},
			machine.Machine{ID: idAndUUID, Source: byBoth},
		},
		"machine-id alone is weak": {
			"",
			map[string]string{id: strings.TrimSpace(someID)},
			machine.Machine{ID: idAlone, Source: byID, Weak: true},
		},
		"D-Bus's older place": {
			"",
			map[string]string{"var/lib/dbus/machine-id": someID},
			machine.Machine{ID: idAlone, Source: byID, Weak: true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := identify(t, test.override, test.files)
			if err != nil {
				t.Fatal(err)
			}
			test.want.Boot = someBoot
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// TestInstanceDataThatProvesNothing is no reason to believe what is on the disk.
func TestInstanceDataThatProvesNothing(t *testing.T) {
	for _, bad := range []string{
		"", "null", "{}", "[]", `{"v1":null}`, `{"v1":{"instance_id":7}}`, `{"v1":{"instance_id":""}}`, found("i-0old")[1:],
		found("i-0old") + strings.Repeat(" ", 4<<20),
	} {
		got, err := identify(t, "", map[string]string{booted: bad, instance: "i-0old\n", id: someID})
		if err != nil || !got.Weak || got.ID != idAlone {
			t.Errorf("%.60q: %+v, %v", bad, got, err)
		}
	}
}

func TestUUIDThatManyBoardsHaveIsIgnored(t *testing.T) {
	for _, bad := range []string{
		"00000000-0000-0000-0000-000000000000", "FFFFFFFF-FFFF-FFFF-FFFF-FFFFFFFFFFFF",
		"03000200-0400-0500-0006-000700080009", "Not Settable", "", "\n", strings.Repeat("a", 4000),
	} {
		got, err := identify(t, "", map[string]string{id: someID, uuid: bad})
		if err != nil || !got.Weak || got.ID != idAlone {
			t.Errorf("uuid %.40q: %+v, %v", bad, got, err)
		}
	}
}

func TestIdentifyRefuses(t *testing.T) {
	for name, test := range map[string]struct {
		override string
		files    map[string]string
		want     string
	}{
		"nothing at all":      {"", nil, "set machine: in the configuration"},
		"uninitialized":       {"", map[string]string{id: "uninitialized\n"}, "no machine-id"},
		"empty machine-id":    {"", map[string]string{id: ""}, "no single line"},
		"zero machine-id":     {"", map[string]string{id: strings.Repeat("0", 32)}, "no machine-id"},
		"two lines":           {"", map[string]string{id: someID + someID}, "no single line"},
		"override with slash": {"a/b", map[string]string{id: someID}, "only letters, digits"},
		"override too long":   {strings.Repeat("a", 65), map[string]string{id: someID}, "only letters, digits"},
		"override newline":    {"a\n", map[string]string{id: someID}, "only letters, digits"},
		"no boot id":          {"", map[string]string{id: someID, boot: "\n"}, "identify this boot"},
		"odd boot id":         {"", map[string]string{id: someID, boot: "today\n"}, "holds no boot id"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := identify(t, test.override, test.files)
			if err == nil {
				t.Fatalf("got %+v", got)
			}
			if !strings.Contains(err.Error(), test.want) {
				t.Errorf("error %q does not say %q", err, test.want)
			}
			if strings.Contains(err.Error(), strings.TrimSpace(someID)) {
				t.Error("the error shows the machine-id")
			}
		})
	}
}

// TestThisMachine runs against the real files. A container may have no
// machine-id: it then has to say what to do.
func TestThisMachine(t *testing.T) {
	got, err := machine.Identify(machine.Options{})
	if err != nil {
		if !strings.Contains(err.Error(), "machine:") {
			t.Error(err)
		}
		got, err = machine.Identify(machine.Options{Override: "m"})
	}
	if err != nil || !regexp.MustCompile(`^[A-Za-z0-9._-]+$`).MatchString(got.ID) || got.Boot == "" {
		t.Errorf("%+v, %v", got, err)
	}
	again, err := machine.Identify(machine.Options{Override: got.ID})
	if err != nil || again.Boot != got.Boot {
		t.Errorf("the boot id is %q, then %q (%v)", got.Boot, again.Boot, err)
	}
}

func FuzzIdentify(f *testing.F) {
	f.Add(found("i-0abc"), "i-0abc\n", someID, someUUID)
	f.Add("{}", "i-0abc\n", "", "\x00")
	f.Add(found("nocloud"), "nocloud", someID, "\x00")
	f.Fuzz(func(t *testing.T, bootText, instanceText, idText, uuidText string) {
		m, err := identify(t, "", map[string]string{booted: bootText, instance: instanceText, id: idText, uuid: uuidText})
		if err == nil && !regexp.MustCompile(`\A[A-Za-z0-9._-]{1,64}\z`).MatchString(m.ID) {
			t.Errorf("id is %q", m.ID)
		}
	})
}

// TestUUIDFromTheUnit is about a daemon that may not read the kernel's file.
func TestUUIDFromTheUnit(t *testing.T) {
	for name, test := range map[string]struct {
		credential *string // the unit's; nil is no such file
		files      map[string]string
		want       string
	}{
		"handed in":                           {new(someUUID), map[string]string{id: someID}, idAndUUID},
		"handed in empty, as there is no DMI": {new(""), map[string]string{id: someID}, idAlone},
		"handed in empty, and we are root":    {new(""), map[string]string{id: someID, uuid: someUUID}, idAndUUID},
		"not handed in":                       {nil, map[string]string{id: someID}, idAlone},
		"of many boards":                      {new("03000200-0400-0500-0006-000700080009"), map[string]string{id: someID}, idAlone},
	} {
		t.Run(name, func(t *testing.T) {
			credentials := t.TempDir()
			if test.credential != nil {
				write(t, credentials, "product_uuid", *test.credential)
			}
			m, err := machine.Identify(machine.Options{Root: root(t, test.files), Credentials: credentials})
			if err != nil {
				t.Fatal(err)
			}
			if m.ID != test.want {
				t.Errorf("the machine is %s by %s, want %s", m.ID, m.Source, test.want)
			}
		})
	}
}
