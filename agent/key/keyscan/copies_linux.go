package keyscan

import "bytes"

// Copies is how often a private key lies in the memory of a process.
type Copies struct {
	Private  int // the seed (Ed25519), the number (ECDSA), one prime (RSA)
	Expanded int // what is computed from it and is as good as the key
}

// Copies counts the private key in the memory of process pid. Half of one
// counts as one. It needs the right to read that memory: root's.
func (s *Secret) Copies(pid int) (Copies, error) {
	mem, err := openMemory(pid)
	if err != nil {
		return Copies{}, err
	}
	defer mem.close()
	c := Copies{Private: mem.count(s.forms)}
	for _, forms := range s.expanded {
		c.Expanded = max(c.Expanded, mem.count(forms))
	}
	return c, nil
}

// count returns how often any of these forms is there.
func (m *memory) count(forms [][]byte) int {
	total := 0
	for _, form := range forms {
		half := len(form) / 2
		total += max(m.occurrences(form[:half]), m.occurrences(form[half:]))
	}
	return total
}

func (m *memory) occurrences(needle []byte) int {
	n := 0
	m.each(len(needle)-1, func(text []byte, fresh int) bool {
		for at := 0; ; at++ {
			next := bytes.Index(text[at:], needle)
			if next < 0 || at+next >= fresh {
				return true
			}
			at += next
			n++
		}
	})
	return n
}
