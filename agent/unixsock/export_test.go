package unixsock

// Admits is Admit's decision alone.
func Admits(u *Users, p Peer) bool {
	_, ok := u.Admit(p)
	return ok
}

// Knows is Known's decision alone.
func Knows(u *Users, p Peer) bool {
	_, ok := u.Known(p)
	return ok
}
