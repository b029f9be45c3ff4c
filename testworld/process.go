package testworld

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"syscall"

	"github.com/isthmus-io/isthmus/fault"
)

// Process is one member of the world that can be stopped and started again.
type Process struct {
	Name string

	run    func(ctx context.Context, ready func()) error
	mu     sync.Mutex // guards the fields below
	cancel context.CancelFunc
	done   chan struct{}
	err    error
}

// Start runs the process and returns once it is ready, or with the reason why it ended before.
func (p *Process) Start(ctx context.Context) error {
	p.mu.Lock()
	if p.cancel != nil {
		p.mu.Unlock()
		return fault.New("testworld.Start", fault.Conflict, p.Name+" runs already")
	}
	run, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ready, done := make(chan struct{}), make(chan struct{})
	p.cancel, p.done = cancel, done
	p.mu.Unlock()
	var once sync.Once
	go func() {
		err := p.run(run, func() { once.Do(func() { close(ready) }) })
		p.mu.Lock()
		p.err = err
		p.mu.Unlock()
		close(done)
	}()
	select {
	case <-ready:
		return nil
	case <-done:
		err := p.Stop()
		if err == nil {
			err = errors.New("it ended before it was ready")
		}
		return fmt.Errorf("%s: %w", p.Name, err)
	case <-ctx.Done():
		return errors.Join(ctx.Err(), p.Stop())
	}
}

// startOn starts a process for the first time, on a free port, which is stored in listen. Somebody else may take that before the process
// does; then it is another.
func (p *Process) startOn(ctx context.Context, listen *string) (err error) {
	for range 10 {
		if *listen, err = freePort(ctx); err != nil {
			return err
		}
		if err = p.Start(ctx); !errors.Is(err, syscall.EADDRINUSE) {
			return err
		}
	}
	return err
}

// Stop ends the process, waits for everything it started, and returns its error.
func (p *Process) Stop() error {
	p.mu.Lock()
	cancel, done := p.cancel, p.done
	p.mu.Unlock()
	if cancel == nil {
		return nil
	}
	cancel()
	<-done
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cancel, p.done = nil, nil
	return p.err
}

// Running tells whether the process runs.
func (p *Process) Running() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cancel == nil {
		return false
	}
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}
