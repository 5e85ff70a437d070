// Package rest owns how deploykeyd speaks HTTP to a forge's API: the one client
// that every adapter uses, and what credentials are exchanged through. It
// authenticates in headers, has the credential read when that is due, refuses
// redirects, caps what it reads, repeats only what may be repeated, classes every
// failure and keeps the forge's clock.
//
// It never puts a credential into a URL, never lets a URL's query, a
// credential or more than one short line of the forge's words into an error or
// a log, and never repeats a request that may have created something.
package rest
