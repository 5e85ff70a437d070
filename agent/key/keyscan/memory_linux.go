package keyscan

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// memory is what a process may write to: where its data lies.
type memory struct {
	file    *os.File
	regions []region
}

type region struct{ from, to int64 }

// openMemory needs the right to read the memory of process pid: root's.
func openMemory(pid int) (*memory, error) {
	regions, err := writableRegions(pid)
	if err != nil {
		return nil, err
	}
	f, err := os.Open(fmt.Sprintf("/proc/%d/mem", pid))
	if err != nil {
		return nil, err
	}
	return &memory{f, regions}, nil
}

func (m *memory) close() { _ = m.file.Close() }

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

// each calls look with one stretch of the memory after another, until it
// returns false. A stretch goes on past its first n bytes, by as many as overlap
// says where there are so many: what begins in them is not seen again.
func (m *memory) each(overlap int, look func(text []byte, n int) bool) {
	const step = 4 << 20
	buf := make([]byte, step+overlap)
	defer clear(buf)
	for _, r := range m.regions {
		for at := r.from; at < r.to; at += step {
			part := io.NewSectionReader(m.file, at, min(int64(len(buf)), r.to-at))
			n, _ := io.ReadFull(part, buf[:part.Size()]) // an unmapped page ends a read early
			if !look(buf[:n], min(n, step)) {
				return
			}
		}
	}
}
