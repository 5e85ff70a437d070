package journal_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"deploykeyd/agent/journal"
)

func TestNotARegularFile(t *testing.T) {
	target := made(t, "m-1", 1)
	for name, place := range map[string]func(path string) error{
		"symbolic link": func(path string) error { return os.Symlink(target, path) },
		"folder":        func(path string) error { return os.Mkdir(path, 0o700) },
		"fifo":          func(path string) error { return syscall.Mkfifo(path, 0o600) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "journal.db")
			if err := place(path); err != nil {
				t.Fatal(err)
			}
			_, err := journal.Open(path, "m-1", journal.Options{})
			wantError(t, err, journal.ErrNotRegular)
			_, err = journal.OpenReadOnly(path)
			wantError(t, err, journal.ErrNotRegular)
		})
	}
}

// TestDiskFull runs fullDisk in a mount namespace of its own.
func TestDiskFull(t *testing.T) {
	cmd := helper(t, "full", t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS}
	if os.Geteuid() != 0 {
		cmd.SysProcAttr = &syscall.SysProcAttr{
			Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
			UidMappings: []syscall.SysProcIDMap{{HostID: os.Geteuid(), Size: 1}},
			GidMappings: []syscall.SysProcIDMap{{HostID: os.Getegid(), Size: 1}},
		}
	}
	if err := cmd.Run(); err != nil {
		t.Fatal(err)
	}
}

func fullDisk(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=400k"); err != nil {
		return fmt.Errorf("mount: %w", err)
	}
	path := filepath.Join(dir, "journal.db")
	j, err := journal.Open(path, "m-1", journal.Options{})
	if err != nil {
		return err
	}
	stored, failed := map[string]bool{}, map[string]bool{}
	put := func(n int) error {
		r := record(n)
		r.Title = strings.Repeat("t", 2000)
		err := j.Put(r)
		if err == nil {
			stored[r.ID()] = true
		} else {
			failed[r.ID()] = true
		}
		return err
	}
	full := 0
	for n := 0; full < 20 && n < 1000; n++ {
		if err := put(n); err != nil {
			if !errors.Is(err, syscall.ENOSPC) {
				return fmt.Errorf("put %d on a full disk: %w", n, err)
			}
			full++
		}
	}
	if full == 0 || len(stored) < 10 {
		return fmt.Errorf("%d puts failed, %d worked", full, len(stored))
	}
	if err := sameRecords(j, stored); err != nil {
		return fmt.Errorf("after the disk was full: %w", err)
	}
	// Room again: within the file after a Forget, which needs a page or two.
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, "size=4m"); err != nil {
		return fmt.Errorf("remount: %w", err)
	}
	for n := range 50 {
		if err := put(5000 + n); err != nil {
			return fmt.Errorf("with room again: %w", err)
		}
	}
	if err := errors.Join(sameRecords(j, stored), j.Close()); err != nil {
		return err
	}
	j, err = journal.Open(path, "m-1", journal.Options{})
	if err != nil {
		return fmt.Errorf("reopen: %w", err)
	}
	return errors.Join(sameRecords(j, stored), j.Close(), createOnFullDisk(dir))
}

// createOnFullDisk checks that a failed creation leaves nothing behind.
func createOnFullDisk(dir string) error {
	filler, err := os.Create(filepath.Join(dir, "filler"))
	if err != nil {
		return err
	}
	for err == nil {
		_, err = filler.Write(make([]byte, 4096))
	}
	path := filepath.Join(dir, "second.db")
	if _, err := journal.Open(path, "m-1", journal.Options{}); !errors.Is(err, syscall.ENOSPC) {
		return fmt.Errorf("a journal was made on a full disk: %w", err)
	}
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 2 {
		return fmt.Errorf("left behind: %v (%w)", entries, err)
	}
	return nil
}

func sameRecords(j *journal.Journal, want map[string]bool) error {
	records, err := j.Records()
	if err != nil {
		return err
	}
	for _, r := range records {
		if !want[r.ID()] {
			return fmt.Errorf("a record whose put failed is there: %q", r.ID())
		}
	}
	if len(records) != len(want) {
		return fmt.Errorf("%d records, want %d", len(records), len(want))
	}
	return nil
}
