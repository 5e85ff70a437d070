package keyscan

import (
	"bufio"
	"bytes"
	"crypto/ed25519"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// ErrNotFound says that the memory does not hold the private key in the form of
// seed and public half side by side.
var ErrNotFound = errors.New("no private key beside the public one in the process's memory")

// Extract finds the private half of the Ed25519 key whose SSH wire form is given
// in the memory of process pid. It needs the right to read that memory: root's.
func Extract(pid int, wire []byte) (*Secret, error) {
	if len(wire) < ed25519.PublicKeySize {
		return nil, ErrNotFound
	}
	public := ed25519.PublicKey(wire[len(wire)-ed25519.PublicKeySize:]) // RFC 8709, section 4
	regions, err := writableRegions(pid)
	if err != nil {
		return nil, err
	}
	mem, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, err
	}
	defer mem.Close()
	for _, r := range regions {
		if s := r.search(mem, public); s != nil {
			return s, nil
		}
	}
	return nil, ErrNotFound
}

type region struct{ from, to int64 }

// writableRegions reads /proc/pid/maps (proc(5)).
func writableRegions(pid int) ([]region, error) {
	f, err := os.Open(fmt.Sprintf("/proc/%d/maps", pid))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	var regions []region
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		fields := strings.Fields(lines.Text())
		if len(fields) < 2 || !strings.HasPrefix(fields[1], "rw") {
			continue
		}
		from, to, ok := strings.Cut(fields[0], "-")
		a, errA := strconv.ParseInt(from, 16, 64)
		b, errB := strconv.ParseInt(to, 16, 64)
		if ok && errA == nil && errB == nil {
			regions = append(regions, region{a, b})
		}
	}
	return regions, lines.Err()
}

// search looks for public with its seed in front, in steps that overlap.
func (r region) search(mem io.ReaderAt, public ed25519.PublicKey) *Secret {
	const step, overlap = 4 << 20, ed25519.PrivateKeySize
	buf := make([]byte, step+overlap)
	defer clear(buf)
	for at := r.from; at < r.to; at += step {
		n, _ := mem.ReadAt(buf[:min(int64(len(buf)), r.to-at)], at) // an unmapped page ends a read early
		if s := inText(buf[:n], public); s != nil {
			return s
		}
	}
	return nil
}

func inText(text []byte, public ed25519.PublicKey) *Secret {
	for i := 0; ; i++ {
		j := bytes.Index(text[i:], public)
		if j < 0 {
			return nil
		}
		i += j
		if i < ed25519.SeedSize {
			continue
		}
		seed := text[i-ed25519.SeedSize : i]
		if bytes.Equal(ed25519.NewKeyFromSeed(seed)[ed25519.SeedSize:], public) {
			return &Secret{seed: bytes.Clone(seed)}
		}
	}
}
