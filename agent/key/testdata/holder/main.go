// Command holder holds one private key, so that a test can look for it in the
// memory of a process that does nothing else. It makes a key of the type that
// its argument names, prints the public half in hex, and then obeys one line
// after the other: "sign N", "park", "clear", "wipe", "collect". It answers each with a line.
package main

import (
	"bufio"
	"fmt"
	"os"
	"runtime"

	"golang.org/x/crypto/ssh"

	"deploykeyd/agent/key"
)

func main() {
	kind := key.Type(os.Args[1])
	k, err := key.Generate(kind)
	if err != nil {
		panic(err)
	}
	fmt.Printf("%x\n", k.Public())
	var parking *key.Parking
	for lines := bufio.NewScanner(os.Stdin); lines.Scan(); {
		var signatures int
		switch line := lines.Text(); line {
		case "park":
			if parking, err = key.NewParking(); err != nil {
				panic(err)
			}
			if err := parking.Park(k); err != nil {
				panic(err)
			}
		case "clear":
			parking.Clear(k)
		case "wipe":
			k.Wipe()
		case "collect": // frees what was cached for the key, then the cached thing itself
			for range 3 {
				runtime.GC()
			}
		default:
			if _, err := fmt.Sscanf(line, "sign %d", &signatures); err != nil {
				panic(err)
			}
			sign(k, kind, signatures)
		}
		fmt.Println("done")
	}
}

// sign signs in ten goroutines, as for ten connections.
func sign(k *key.Key, kind key.Type, signatures int) {
	const connections = 10
	algorithm := ""
	if kind == key.RSA3072 {
		algorithm = ssh.KeyAlgoRSASHA512
	}
	done := make(chan error)
	for range connections {
		go func() {
			for range signatures / connections {
				if _, err := k.Sign([]byte("a login request"), algorithm); err != nil {
					done <- err
					return
				}
			}
			done <- nil
		}()
	}
	for range connections {
		if err := <-done; err != nil {
			panic(err)
		}
	}
}
