package custody

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
)

// maxProcFile bounds what is read of a file in /proc.
const maxProcFile = 64 << 10

func readProc(path string) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = f.Close() }()
	return io.ReadAll(io.LimitReader(f, maxProcFile))
}

// statusNumber reads a number from /proc/self/status (proc_pid_status(5)).
// Sizes are in KiB.
func statusNumber(field string) (uint64, error) {
	const path = "/proc/self/status"
	text, err := readProc(path)
	if err != nil {
		return 0, err
	}
	for line := range bytes.Lines(text) {
		name, value, _ := strings.Cut(string(line), ":")
		words := strings.Fields(value)
		if name == field && len(words) > 0 {
			return strconv.ParseUint(words[0], 10, 64)
		}
	}
	return 0, fmt.Errorf("%s has no %s", path, field)
}

// swapText says whether the machine swaps.
func swapText() string {
	text, err := readProc("/proc/swaps")
	if err != nil {
		return "whether swap is on is unknown"
	}
	areas := swapAreas(string(text))
	if len(areas) == 0 {
		return "swap is off now"
	}
	return "swap is on: " + strings.Join(areas, ", ")
}

// swapAreas returns the names in the text of /proc/swaps (proc(5)), whose first
// line is a heading.
func swapAreas(text string) []string {
	_, rest, _ := strings.Cut(text, "\n")
	var areas []string
	for line := range strings.Lines(rest) {
		if words := strings.Fields(line); len(words) > 0 {
			areas = append(areas, words[0])
		}
	}
	return areas
}
