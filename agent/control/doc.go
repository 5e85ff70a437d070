// Package control owns the daemon's control socket: HTTP and JSON over a unix
// socket, the server and the client. Who may ask for what is decided for each
// connection by who the kernel says is at its other end.
//
// It decides nothing about keys: it hands questions to the daemon. It never
// believes what a client says about itself, and no client can hold up the
// daemon's end.
package control
