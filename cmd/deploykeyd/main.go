// Command deploykeyd gives a short-lived build machine git access with a key
// that nobody on it can read.
package main

import (
	"os"

	"deploykeyd/cmd/deploykeyd/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdout, os.Stderr)) }
