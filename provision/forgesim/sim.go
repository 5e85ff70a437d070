package forgesim

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"deploykeyd/provision"
)

// DefaultPageSize is how many entries a page holds at most unless Options say
// otherwise: tiny, so that three keys on a repository exercise paging.
const DefaultPageSize = 3

// Options configure a Sim. The zero value is usable.
type Options struct {
	// Kinds are the forges to stand in for: by default Gitea, GitHub and
	// Bitbucket Cloud.
	Kinds []provision.Kind
	// Dir holds the bare repositories and host keys, which a later Start on the
	// same folder uses again. Empty means a temporary folder that Close removes.
	// New uses no folder at all.
	Dir string
	// Listen holds the addresses of each forge, "host:port". The n-th kind
	// listens on 127.0.0.n with ports chosen by the system where it has none.
	Listen map[provision.Kind]Listen
	// Names makes URL and SSH speak of gitea.test, github.test and
	// bitbucket-cloud.test in place of addresses. Whoever uses them must have
	// those names resolve to the addresses.
	Names bool
	// Latency is the time a request takes there and back, half each way.
	Latency time.Duration
	// PageSize is the largest page that any forge gives; 0 means
	// DefaultPageSize. A client's smaller wish is granted.
	PageSize int
	// Logger gets a line for each request and each SSH command; nil discards.
	Logger *slog.Logger
}

// Listen is where one forge listens. An empty address means the default.
type Listen struct{ HTTP, SSH string }

// Sim is a set of forges. It is safe for concurrent use.
type Sim struct {
	forges  []*Forge
	closers []io.Closer // of the control API
	dir     string      // empty without sockets
	ownDir  bool
	running context.Context // ends with Close
	cancel  context.CancelFunc
	mu      sync.Mutex // orders enter before Close's wait
	tasks   sync.WaitGroup
	close   sync.Once
}

// kinds are the forges that can be stood in for, in their default order.
func kinds() []provision.Kind {
	return []provision.Kind{provision.Gitea, provision.GitHub, provision.BitbucketCloud}
}

// New returns forges without sockets, files or git: their only way in is
// Forge.Transport. It may be used within a testing/synctest bubble, where both
// New and Close must be called inside.
func New(o Options) (*Sim, error) {
	s, err := build(context.Background(), o)
	if err != nil {
		return nil, err
	}
	for _, f := range s.forges {
		f.setHost("https", hostName(f.kind), hostName(f.kind), 22)
	}
	return s, nil
}

// Start returns forges that listen for HTTP and SSH and serve real bare
// repositories. It needs git. The context bounds the start only; Close ends
// what Start began.
func Start(ctx context.Context, o Options) (*Sim, error) {
	s, err := build(context.WithoutCancel(ctx), o)
	if err != nil {
		return nil, err
	}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(fmt.Errorf("start forgesim: %w", err), s.Close())
	}
	return s, nil
}

func build(ctx context.Context, o Options) (*Sim, error) {
	if len(o.Kinds) == 0 {
		o.Kinds = kinds()
	}
	if o.PageSize <= 0 {
		o.PageSize = DefaultPageSize
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	s := &Sim{}
	s.running, s.cancel = context.WithCancel(ctx)
	for _, k := range o.Kinds {
		if s.Forge(k) != nil {
			s.cancel()
			return nil, fmt.Errorf("forgesim: %s is named twice", k)
		}
		f, err := newForge(s, k, o)
		if err != nil {
			s.cancel()
			return nil, err
		}
		s.forges = append(s.forges, f)
	}
	return s, nil
}

func (s *Sim) start(ctx context.Context, o Options) error {
	s.dir = o.Dir
	if s.dir == "" {
		dir, err := os.MkdirTemp("", "forgesim")
		if err != nil {
			return err
		}
		s.dir, s.ownDir = dir, true
	}
	for i, f := range s.forges {
		addresses := o.Listen[f.kind]
		loopback := fmt.Sprintf("127.0.0.%d:0", i+1)
		if addresses.HTTP == "" {
			addresses.HTTP = loopback
		}
		if addresses.SSH == "" {
			addresses.SSH = loopback
		}
		if err := f.listen(ctx, addresses, o.Names); err != nil {
			return fmt.Errorf("%s: %w", f.kind, err)
		}
	}
	return nil
}

// Close ends every listener, connection, git process and pending late effect,
// and waits for them. It removes the folder that Start made for itself.
func (s *Sim) Close() error {
	var err error
	s.close.Do(func() {
		s.mu.Lock()
		s.cancel()
		s.mu.Unlock()
		closers := s.closers
		for _, f := range s.forges {
			closers = append(closers, f.closers...)
		}
		for _, c := range closers {
			err = errors.Join(err, ignoreClosed(c.Close()))
		}
		s.tasks.Wait()
		if s.ownDir {
			err = errors.Join(err, os.RemoveAll(s.dir))
		}
	})
	return err
}

// enter counts a caller among the tasks that Close waits for, and reports false
// when Close has begun.
func (s *Sim) enter() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.running.Err() != nil {
		return false
	}
	s.tasks.Add(1)
	return true
}

// Forge returns the forge of kind k, nil when the Sim has none.
func (s *Sim) Forge(k provision.Kind) *Forge {
	i := slices.IndexFunc(s.forges, func(f *Forge) bool { return f.kind == k })
	if i < 0 {
		return nil
	}
	return s.forges[i]
}

// Forges returns all forges in the order of Options.Kinds.
func (s *Sim) Forges() []*Forge { return slices.Clone(s.forges) }

// Release lets every held reply of every forge go; see Forge.Release.
func (s *Sim) Release() int {
	n := 0
	for _, f := range s.forges {
		n += f.Release()
	}
	return n
}

// pause waits for d, for the end of ctx or for Close. It holds no lock and
// waits on channels alone, so that a synctest bubble's clock can move on.
func (s *Sim) pause(ctx context.Context, d time.Duration) error {
	if d <= 0 {
		return context.Cause(ctx)
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	return s.await(ctx, timer.C)
}

// await waits for a value on c or its closing, for the end of ctx or for Close.
func (s *Sim) await(ctx context.Context, c <-chan time.Time) error {
	select {
	case <-c:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-s.running.Done():
		return io.ErrUnexpectedEOF
	}
}
