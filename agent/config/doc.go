// Package config owns the configuration file: its fields, its defaults and what
// it refuses. One table of fields drives the reading, the JSON Schema and the
// reference for people; every problem of a file is reported at once, each with
// its line, the line's text and the fix.
//
// It never acts on what it reads: it opens no other file, loads no credential
// and asks no network. What is planned but not there yet is refused by name,
// never accepted and ignored. Where a secret may stand by mistake, its text is
// kept out of every message.
package config
