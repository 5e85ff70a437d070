// Package control owns the daemon's control socket: HTTP and JSON over a unix
// socket, the server and the client. Who may ask for what is decided by the
// peer's identity on each connection.
//
// It never decides anything about keys: it hands questions to the daemon.
package control
