package control

import "testing"

// Users that nobody has listed take no place from those that are, however many
// they are.
func TestStrangersTogetherHaveFewConnections(t *testing.T) {
	l := &limitedListener{}
	taken := 0
	for uid := range uint32(100) {
		if l.take(100_000+uid, true) {
			taken++
		}
	}
	if taken != maxStrangers {
		t.Errorf("%d strangers have a connection", taken)
	}
	for uid := range uint32(100) {
		if !l.take(uid, false) {
			t.Fatalf("user %d has none", uid)
		}
	}
	l.give(100_000, true)
	if !l.take(200_000, true) || l.take(200_001, true) {
		t.Error("the place of one who has gone is not the next one's alone")
	}
	if len(l.open) != 100+maxStrangers {
		t.Errorf("%d users are remembered", len(l.open))
	}
}
