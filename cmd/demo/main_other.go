//go:build !linux

package main

import (
	"os"
)

func main() {
	_, _ = os.Stderr.WriteString("demo: it needs Linux: mount namespaces and peer credentials\n")
	os.Exit(2)
}
