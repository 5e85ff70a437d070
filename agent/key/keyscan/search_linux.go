package keyscan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"
)

// Report says what a search has read and where it found the secret.
type Report struct {
	Looked int   // files seen
	Read   int   // files read: those that changed since the given time
	Bytes  int64 // bytes read
	Hits   []string
}

// Search reads every regular file below root that changed since the given time,
// by its inode's change time, which no program can set, and returns those with
// any part of any secret. It does not enter /proc and /sys, which hold no files
// of their own; what a process has open is for SearchProcess.
func Search(ctx context.Context, root string, since time.Time, secrets ...*Secret) (Report, error) {
	var report Report
	needles := allNeedles(secrets)
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case err != nil:
			return skipVanished(err)
		case d.IsDir() && (path == "/proc" || path == "/sys"):
			return filepath.SkipDir
		case !d.Type().IsRegular():
			return nil
		}
		report.Looked++
		info, err := d.Info()
		if err != nil {
			return skipVanished(err)
		}
		if stat, ok := info.Sys().(*syscall.Stat_t); ok && time.Unix(stat.Ctim.Unix()).Before(since) {
			return nil
		}
		return report.look(path, needles)
	})
	return report, err
}

// SearchProcess reads what process pid shows in /proc and every regular file
// that it has open, deleted ones too.
func SearchProcess(pid int, secrets ...*Secret) (Report, error) {
	var report Report
	needles := allNeedles(secrets)
	dir := fmt.Sprintf("/proc/%d", pid)
	for _, name := range []string{"cmdline", "environ", "status", "comm"} {
		if err := report.look(filepath.Join(dir, name), needles); err != nil {
			return report, err
		}
	}
	open, err := os.ReadDir(filepath.Join(dir, "fd"))
	if err != nil {
		return report, err
	}
	for _, fd := range open {
		path := filepath.Join(dir, "fd", fd.Name())
		info, err := os.Stat(path)
		if err != nil || !info.Mode().IsRegular() {
			continue
		}
		if err := report.look(path, needles); err != nil {
			return report, err
		}
	}
	return report, nil
}

// look reads one file to its end.
func (r *Report) look(path string, needles [][]byte) error {
	f, err := os.Open(path)
	if err != nil {
		return skipVanished(err)
	}
	defer f.Close()
	r.Read++
	overlap := longest(needles) - 1
	buf := make([]byte, overlap+1<<20)
	kept := 0
	for {
		n, err := f.Read(buf[kept:])
		r.Bytes += int64(n)
		if contains(buf[:kept+n], needles) {
			r.Hits = append(r.Hits, path)
			return nil
		}
		if n == 0 || err != nil {
			if err == nil || errors.Is(err, io.EOF) || errors.Is(err, syscall.EINVAL) {
				return nil
			}
			return fmt.Errorf("search %s: %w", path, err)
		}
		whole := kept + n
		kept = min(overlap, whole)
		copy(buf, buf[whole-kept:whole])
	}
}

// skipVanished lets a search go on past what went away meanwhile, and past
// event queues and the like, which look like files among a process's open ones
// but hold no bytes (ENXIO).
func skipVanished(err error) error {
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH) || errors.Is(err, syscall.ENXIO) {
		return nil
	}
	return err
}
