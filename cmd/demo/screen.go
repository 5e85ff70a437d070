//go:build linux

package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// screen is where the demo tells what happens. Safe for concurrent use.
type screen struct {
	mu    sync.Mutex
	w     io.Writer
	start time.Time
	steps int
}

// step runs one step of the demo and prints its title, its lines and its time.
func (s *screen) step(title string, f func() error) error {
	s.mu.Lock()
	s.steps++
	_, _ = fmt.Fprintf(s.w, "\n%2d. %s\n", s.steps, title)
	s.mu.Unlock()
	began := time.Now()
	err := f()
	if err != nil {
		s.say("DOES NOT HOLD: %v", err)
		return fmt.Errorf("step %d, %s: %w", s.steps, title, err)
	}
	s.say("holds (%.2f s)", time.Since(began).Seconds())
	return nil
}

// say prints lines under the current step.
func (s *screen) say(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for line := range strings.Lines(fmt.Sprintf(format, args...)) {
		_, _ = fmt.Fprintf(s.w, "    %s\n", strings.TrimRight(line, "\n"))
	}
}

// run shows a command as a person would type it.
func (s *screen) command(who, line string) { s.say("%s$ %s", who, line) }

// logLine is what the demo shows of a line of the daemon's log.
type logLine struct {
	Level       string `json:"level"`
	Message     string `json:"msg"`
	Forge       string `json:"forge"`
	Repository  string `json:"repository"`
	Target      string `json:"target"`
	Title       string `json:"title"`
	Access      string `json:"access"`
	Reason      string `json:"reason"`
	Decision    string `json:"decision"`
	UID         *int   `json:"uid"`
	Fingerprint string `json:"fingerprint"`
}

// follow shows the daemon's log as it comes, and copies it to file.
func (s *screen) follow(log io.Reader, file io.Writer) {
	lines := bufio.NewScanner(io.TeeReader(log, file))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var l logLine
		if json.Unmarshal(lines.Bytes(), &l) != nil {
			s.say("daemon| %s", lines.Text())
			continue
		}
		s.say("daemon| %7.3f  %s", time.Since(s.start).Seconds(), l.text())
	}
}

func (l logLine) text() string {
	parts := []string{l.Message}
	if l.UID != nil {
		parts = append(parts, fmt.Sprintf("uid %d", *l.UID))
	}
	for _, p := range []string{l.Decision, l.Forge, l.Repository, l.Target, l.Access, l.Title, l.Reason} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	if l.Level != "INFO" {
		parts[0] = l.Level + " " + parts[0]
	}
	return strings.Join(parts, "  ")
}
