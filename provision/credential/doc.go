// Package credential owns the secrets that authenticate deploykeyd to a
// forge's API, and where they come from: files, the environment, systemd,
// programs, and exchanges of a long-lived secret for a short-lived token.
//
// A secret is never printed, marshalled or compared as text: the only way to
// its bytes is Secret.Reveal. This package opens no connection of its own, all
// exchanges go through the Doer that its caller gives, and it keeps no secret
// longer than its caller does.
//
// Wiped are the buffers that a file or a program's output is read into, and the
// text of a private key with its decoded bytes, once they have been used. Not
// wiped, since Go gives no hold on them, are strings and what the standard
// library makes: the text of a Secret, the value of an environment variable, a
// parsed key's numbers, request headers and bodies, and replies with the tokens in
// them. Those last until their memory is used anew.
package credential
