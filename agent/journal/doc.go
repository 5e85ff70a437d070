// Package journal keeps the records of one machine's registrations in a bbolt
// file, so that a key which was asked for is never forgotten: a Put that has
// returned survives a kill and a power cut.
//
// It holds public facts only; no private byte and no credential ever enters it.
// It never repairs, converts or deletes a file that it does not understand: a
// damaged journal, one of a newer deploykeyd and one of another machine stay as
// they are, byte for byte. Because bbolt maps the file into memory and trusts
// what it reads there, every page is checked before bbolt sees the file.
package journal
