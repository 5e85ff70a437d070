package key_test

import (
	"fmt"
	"os"
	"os/exec"
	"slices"
	"syscall"
	"testing"

	"golang.org/x/crypto/ssh"

	"deploykeyd/agent/key"
)

// asParker makes the test binary a process that parks keys.
const asParker = "DEPLOYKEYD_TEST_AS_PARKER"

func TestMain(m *testing.M) {
	if role := os.Getenv(asParker); role != "" {
		if err := parker(role); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// parker is what such a process does. The parking's file is descriptor 3, unless
// it makes its own.
func parker(role string) error {
	if role == "secret" {
		return tellSecret()
	}
	p, keys, err := key.OpenParking(os.NewFile(3, "parking"))
	if err != nil {
		return err
	}
	if role == "forever" {
		return parkForever(p)
	}
	for _, k := range keys { // sign
		signature, err := k.Sign([]byte("data"), algorithms(typeOf(k))[0])
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stdout, "%x %x\n", k.Public(), ssh.Marshal(signature))
	}
	return nil
}

// tellSecret says whether the memory that this process gets is secret, and
// whether it works.
func tellSecret() error {
	p, err := key.NewParking()
	if err != nil {
		return err
	}
	k, err := key.Generate(key.Ed25519)
	if err != nil {
		return err
	}
	fmt.Fprintln(os.Stdout, p.Secret())
	return p.Park(k)
}

// parkForever parks and clears keys until the process is killed. It says first
// what it does, and then that it has.
func parkForever(p *key.Parking) error {
	var held []*key.Key
	for n := 0; ; n++ {
		k, err := key.Generate([]key.Type{key.Ed25519, key.ECDSAP256}[n%2])
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stdout, "begin %x\n", k.Public())
		if err := p.Park(k); err != nil {
			return err
		}
		fmt.Fprintf(os.Stdout, "parked %x\n", k.Public())
		if held = append(held, k); len(held) < 5 {
			continue
		}
		i := (n * 7) % len(held)
		fmt.Fprintf(os.Stdout, "clear %x\n", held[i].Public())
		p.Clear(held[i])
		fmt.Fprintf(os.Stdout, "cleared %x\n", held[i].Public())
		held = append(held[:i], held[i+1:]...)
	}
}

func typeOf(k *key.Key) key.Type {
	public, err := ssh.ParsePublicKey(k.Public())
	if err != nil {
		return ""
	}
	switch public.Type() {
	case ssh.KeyAlgoED25519:
		return key.Ed25519
	case ssh.KeyAlgoECDSA256:
		return key.ECDSAP256
	}
	return key.RSA3072
}

// parkerCommand is a process with a role, behind some wrapper.
func parkerCommand(tb testing.TB, role string, parking *os.File, wrapper ...string) *exec.Cmd {
	tb.Helper()
	words := slices.Concat(wrapper, []string{os.Args[0]})
	c := exec.CommandContext(tb.Context(), words[0], words[1:]...)
	c.Env = append(os.Environ(), asParker+"="+role, "GORACE=atexit_sleep_ms=0")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	c.Stderr = os.Stderr
	if parking != nil {
		c.ExtraFiles = []*os.File{parking}
	}
	return c
}
