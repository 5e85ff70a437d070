// Package boot holds the tests that boot a whole build machine: Debian with a
// real systemd and a real cloud-init, the real package, and emulated forges on
// the other end of a network cable. They run with the build tag "boot" (make
// boot-test) and as root; README.md tells how they work and how to look into a
// boot that failed.
//
// Nothing of a test touches the machine that it runs on: it has network, mount
// and process namespaces of its own, which end with it however it ends, and
// writes below the tree's .cache/boot alone. No part of the program imports this
// package.
package boot
