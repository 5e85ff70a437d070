//go:build !unix

package sshconfig

import "io/fs"

// ownedByUs cannot tell where files have no owner's uid.
func ownedByUs(fs.FileInfo) bool { return true }
