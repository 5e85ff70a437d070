// Package credential owns the secrets that authenticate deploykeyd to a
// forge's API, and where they come from.
//
// A secret is never printed, marshalled or compared as text: the only way to
// its bytes is Secret.Reveal. This package sends nothing anywhere and keeps no
// secret longer than its caller does.
package credential
