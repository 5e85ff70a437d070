// Package compat owns the proof that forgesim is what it claims to be: clients
// that others wrote for the real forges are driven against it over HTTP. It is
// a module of its own, so that those clients stay out of deploykeyd's.
package compat
