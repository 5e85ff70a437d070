// Package preemption watches the metadata service of a cloud for the notice
// that this machine is about to be taken away.
//
// It knows three clouds, each by its documented address and headers, and asks
// them over plain HTTP at a link-local address, without proxies, without
// following redirects, with limits on time and size: whatever answers there may
// be anything. A reply that is not understood is never a notice. No reply's text
// reaches a log or an error.
//
// It never revokes, ends or changes anything on the machine. What a notice means
// is the caller's to decide.
package preemption
