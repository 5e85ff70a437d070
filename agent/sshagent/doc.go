// Package sshagent owns the ssh-agent protocol: it lends keys to the users of
// the machine over a socket, decides which key a client is shown, and signs
// nothing but SSH logins at the key's own forge.
//
// It never returns a private byte, takes a key from a client, or believes what
// a client says about itself beyond choosing which public key to show.
//
// The protocol is that of draft-ietf-sshm-ssh-agent; the session-bind extension
// and the hostbound method are those of OpenSSH's PROTOCOL.agent and PROTOCOL.
//
// # What is signed
//
// The bytes to sign must be, from the first to the last, a login request
// (SSH_MSG_USERAUTH_REQUEST, RFC 4252 section 7) for the service ssh-connection
// with the method publickey or publickey-hostbound-v00@openssh.com, as the
// forge's SSH user, with the very key that is asked to sign. File signatures
// (SSHSIG), SHA-1 and everything else are refused.
//
// A client that binds its connection to an SSH session, as OpenSSH does since
// 8.9, proves which host key it met. That key must be pinned for the forge of
// the key that signs later, and the login must carry that session. A bind that
// is refused poisons its connection, because OpenSSH goes on after a refusal as
// if nothing had happened: nothing is signed on it any more.
//
// # Sockets
//
// The users' shared socket chooses among all published keys. The own socket of a
// repository shows that repository's newest key and signs with its keys alone;
// it is for programs whose command line does not say what they want. Both are
// for the same users. A verification socket is for our own user and one key.
//
// # Fairness
//
// What a client takes up is counted to an account, over all sockets together: its
// user's, where the configuration lists the user, and else that of the group that
// lets it in, because the members of a group may have thousands of uids each.
// Counted are connections, with one request in work on each, and signatures, of
// which a burst is free and the rest comes at a steady rate. All groups together
// have half of the connections, so that the users that are listed keep theirs.
//
// The work is done in turns, one account after the other: what is signed, bound or
// listed, and what is looked at and then refused. Without one a message is only
// taken in, and refused if it is none that is served here. So a greedy account
// costs another one turn for each request.
//
// Nor can it fill the memory: a connection holds one message of 32 KiB, and all
// that there may be, with such a message on each, take 25 MiB. Nor, with audit
// lines, the disk: those of refusals are limited by number, those of signatures by
// the rate, and each by its length.
package sshagent
