// Package credential owns the secrets that authenticate deploykeyd to a
// forge's API, and where they come from: files, the environment, systemd,
// programs, and exchanges of a long-lived secret for a short-lived token.
//
// A secret is never printed, marshalled or compared as text: the only way to
// its bytes is Secret.Reveal. This package opens no connection of its own, all
// exchanges go through the Doer that its caller gives, and it keeps no secret
// longer than its caller does. What Go itself cannot promise: memory that held a
// secret is wiped where this package made it, and the copies that the standard
// library makes of it (a parsed key, a header, a decoded reply) last until that
// memory is used anew.
package credential
