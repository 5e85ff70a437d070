// Package machine tells which machine and which of its lives this is.
//
// It reads a few small files and never the network: a metadata service answers
// whoever asks and, at boot, perhaps not yet. It never shows the machine-id
// itself, which machine-id(5) calls confidential, only a hash of it.
package machine
