package keyscan

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Report says what a search has read and where it found the secret.
type Report struct {
	Looked int   // files seen
	Read   int   // files read: those that changed since the given time
	Bytes  int64 // bytes read
	Hits   []string
}

// lookers is how many folders are read at a time: the inodes of a whole machine
// come from a disk, and one at a time they take minutes.
const lookers = 16

// Search reads every regular file below root that changed since the given time,
// by its inode's change time, which no program can set, and returns those with
// any part of any secret. It does not enter the kernel's own views, such as
// /proc and /sys, wherever they are mounted: they hold no files of their own.
// What a process has open is for SearchProcess.
func Search(ctx context.Context, root string, since time.Time, secrets ...*Secret) (Report, error) {
	s := &search{ctx: ctx, since: since, finder: newFinder(secrets), slots: make(chan struct{}, lookers)}
	s.folder(root)
	s.running.Wait()
	slices.Sort(s.report.Hits)
	return s.report, errors.Join(s.errs...)
}

// search is one Search.
type search struct {
	ctx     context.Context //nolint:containedctx // lives as long as one call
	since   time.Time
	finder  *finder
	slots   chan struct{}
	running sync.WaitGroup

	mu     sync.Mutex
	report Report
	errs   []error
}

// folder looks at everything in a folder, in folders below it at the same time
// where a slot is free.
func (s *search) folder(path string) {
	if kernels, err := kernelView(path); kernels || err != nil {
		s.fail(skipVanished(err))
		return
	}
	entries, err := os.ReadDir(path)
	if err != nil {
		s.fail(skipVanished(err))
	}
	for _, e := range entries {
		below := filepath.Join(path, e.Name())
		switch {
		case s.ctx.Err() != nil:
			s.fail(s.ctx.Err())
			return
		case e.IsDir():
			select {
			case s.slots <- struct{}{}:
				s.running.Go(func() {
					defer func() { <-s.slots }()
					s.folder(below)
				})
			default:
				s.folder(below)
			}
		case e.Type().IsRegular():
			s.fail(s.file(below, e))
		}
	}
}

// kernelView reports whether a folder lies in a file system that shows what the
// kernel has, and stores nothing.
func kernelView(path string) (bool, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return false, &fs.PathError{Op: "statfs", Path: path, Err: err}
	}
	switch int64(st.Type) { //nolint:unconvert // an int32 on some machines
	case unix.PROC_SUPER_MAGIC, unix.SYSFS_MAGIC, unix.CGROUP_SUPER_MAGIC, unix.CGROUP2_SUPER_MAGIC,
		unix.DEBUGFS_MAGIC, unix.TRACEFS_MAGIC, unix.SECURITYFS_MAGIC:
		return true, nil
	}
	return false, nil
}

func (s *search) file(path string, e fs.DirEntry) error {
	info, err := e.Info()
	if err != nil {
		return skipVanished(err)
	}
	var r Report
	r.Looked++
	if stat, ok := info.Sys().(*syscall.Stat_t); !ok || !time.Unix(stat.Ctim.Unix()).Before(s.since) {
		err = r.look(path, s.finder)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.report.add(r)
	return err
}

func (s *search) fail(err error) {
	if err == nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.errs = append(s.errs, err)
}

func (r *Report) add(other Report) {
	r.Looked += other.Looked
	r.Read += other.Read
	r.Bytes += other.Bytes
	r.Hits = append(r.Hits, other.Hits...)
}

// SearchProcess reads what process pid shows in /proc and every regular file
// that it has open, deleted ones too.
func SearchProcess(pid int, secrets ...*Secret) (Report, error) {
	var report Report
	finder := newFinder(secrets)
	dir := fmt.Sprintf("/proc/%d", pid)
	for _, name := range []string{"cmdline", "environ", "status", "comm"} {
		if err := report.look(filepath.Join(dir, name), finder); err != nil {
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
		if err := report.look(path, finder); err != nil {
			return report, err
		}
	}
	return report, nil
}

// look reads one file to its end.
func (r *Report) look(path string, finder *finder) error {
	f, err := os.Open(path)
	if err != nil {
		return skipVanished(err)
	}
	defer f.Close()
	r.Read++
	buf := make([]byte, finder.overlap+256<<10)
	kept := 0
	for {
		n, err := f.Read(buf[kept:])
		r.Bytes += int64(n)
		if finder.in(buf[:kept+n]) {
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
		kept = min(finder.overlap, whole)
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
