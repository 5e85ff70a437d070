package service

import "github.com/kardianos/service"

// Run calls ready and then main as this system's service manager wants a service
// to be run, and returns the error of the one that failed. Main looks after
// signals itself. Where ready refuses, main is not called: Windows' service
// control manager has to get that answer in its own protocol, or it waits half a
// minute for a service that does not respond and tells of nothing else.
func Run(ready, main func() error) error {
	p := &program{ready: ready, main: main, ended: make(chan struct{})}
	s, err := system("", p)
	if err != nil {
		return failed("run as a service", err, "run it in a terminal")
	}
	return s.Run()
}

// program is what a service manager starts and stops.
type program struct {
	ready, main func() error
	ended       chan struct{} // closed when main has returned err
	err         error
}

// Start implements the service manager's side: it does not wait for main.
func (p *program) Start(service.Service) error {
	if err := p.ready(); err != nil {
		return err
	}
	go func() {
		defer close(p.ended)
		p.err = p.main()
	}()
	return nil
}

// wait stands in for the service manager's own watch over signals.
func (p *program) wait() { <-p.ended }

// Stop implements the service manager's side.
func (p *program) Stop(service.Service) error {
	p.wait()
	return p.err
}
