//go:build !linux

package service

import (
	"errors"
	"os"
)

// send is not reached: other systems have no such manager.
func (m *Manager) send(string, *os.File) error { return errors.ErrUnsupported }

func monotonicLine() string { return "" }
