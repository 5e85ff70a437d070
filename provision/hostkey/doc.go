// Package hostkey owns pinned SSH host keys: which keys a forge's SSH side may
// show, and who says so. Pins come from two places only, those built in for the
// hosted services and the operator's configuration.
//
// It never fetches a key, never accepts one on first sight, and never takes a
// host name or a certificate in place of a key.
package hostkey
