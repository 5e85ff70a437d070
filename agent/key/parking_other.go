//go:build !linux

package key

import (
	"errors"
	"os"
)

func newParkingFile() (*os.File, []byte, bool, error) { return nil, nil, false, errors.ErrUnsupported }

func mapParkingFile(*os.File) ([]byte, bool, error) { return nil, false, errors.ErrUnsupported }

func unmapParking([]byte) error { return errors.ErrUnsupported }
