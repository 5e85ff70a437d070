//go:build !unix

package config

import "io/fs"

// checkTrust allows every file: who may change it cannot be told here, where a
// file can only be checked, since the agent runs on Linux.
func checkTrust(string, fs.FileInfo) error { return nil }
