package key

import (
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// parkingName is what /proc shows of an ordinary memfd.
const parkingName = "deploykeyd-keys"

// newParkingFile makes the memory of a parking, secret if at all possible: the
// kernel may be older than 5.14, have it switched off, filter the call, or
// count more as locked than the limit allows.
func newParkingFile() (f *os.File, area []byte, secret bool, err error) {
	if f, area, err = newSecret(); err == nil {
		return f, area, true, nil
	}
	f, area, err = newSealed()
	return f, area, false, err
}

// newSecret makes memory with memfd_secret(2), whose size can be set once.
func newSecret() (*os.File, []byte, error) {
	fd, err := unix.MemfdSecret(unix.O_CLOEXEC)
	if err != nil {
		return nil, nil, os.NewSyscallError("memfd_secret", err)
	}
	return sized(fd, 0)
}

// newSealed makes memory with memfd_create(2) and seals its size.
func newSealed() (*os.File, []byte, error) {
	const flags = unix.MFD_CLOEXEC | unix.MFD_ALLOW_SEALING
	fd, err := unix.MemfdCreate(parkingName, flags|unix.MFD_NOEXEC_SEAL)
	if errors.Is(err, unix.EINVAL) { // before Linux 6.3
		fd, err = unix.MemfdCreate(parkingName, flags)
	}
	if err != nil {
		return nil, nil, os.NewSyscallError("memfd_create", err)
	}
	return sized(fd, unix.F_SEAL_SHRINK|unix.F_SEAL_GROW|unix.F_SEAL_SEAL)
}

// sized gives the memory its size, seals it and maps it.
func sized(fd, seals int) (*os.File, []byte, error) {
	f := os.NewFile(uintptr(fd), parkingName)
	err := os.NewSyscallError("ftruncate", unix.Ftruncate(fd, parkingSize))
	if err == nil && seals != 0 {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, seals)
	}
	var area []byte
	if err == nil {
		area, _, err = mapParkingFile(f)
	}
	if err != nil {
		_ = f.Close()
		return nil, nil, err
	}
	return f, area, nil
}

// mapParkingFile maps the memory of a parking, and reports whether it is secret.
func mapParkingFile(f *os.File) (area []byte, secret bool, err error) {
	conn, err := f.SyscallConn()
	if err != nil {
		return nil, false, err
	}
	controlErr := conn.Control(func(fd uintptr) {
		unix.CloseOnExec(int(fd)) // whoever handed it over could not have it set
		if secret, err = checkParkingFile(int(fd)); err == nil {
			area, err = mapShared(int(fd))
		}
	})
	if err == nil {
		err = controlErr
	}
	return area, secret, err
}

// checkParkingFile proves that the file is memory of our size that nobody can
// make smaller: to touch a page behind the end of a file ends the process.
func checkParkingFile(fd int) (secret bool, err error) {
	var fsys unix.Statfs_t
	if err := unix.Fstatfs(fd, &fsys); err != nil {
		return false, os.NewSyscallError("fstatfs", err)
	}
	switch int64(fsys.Type) { //nolint:unconvert // an int32 on some machines
	case unix.SECRETMEM_MAGIC:
		secret = true
	case unix.TMPFS_MAGIC:
		seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
		if err != nil || seals&unix.F_SEAL_SHRINK == 0 {
			return false, errors.New("the file could shrink: it is none of ours")
		}
	default:
		return false, errors.New("the file is no memory: it is none of ours")
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return false, os.NewSyscallError("fstat", err)
	}
	if st.Size != parkingSize {
		return false, fmt.Errorf("the file has %d bytes instead of %d: it is none of ours", st.Size, parkingSize)
	}
	return secret, nil
}

func mapShared(fd int) ([]byte, error) {
	area, err := unix.Mmap(fd, 0, parkingSize, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	switch {
	case errors.Is(err, unix.EAGAIN):
		return nil, fmt.Errorf("%w: set LimitMEMLOCK=infinity in the unit", os.NewSyscallError("mmap", err))
	case err != nil:
		return nil, os.NewSyscallError("mmap", err)
	}
	_ = unix.Madvise(area, unix.MADV_DONTDUMP) // behind the process that is undumpable as a whole
	return area, nil
}

func unmapParking(area []byte) error { return os.NewSyscallError("munmap", unix.Munmap(area)) }
