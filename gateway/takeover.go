package gateway

import (
	"context"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"sync"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway/carry"
	"github.com/isthmus-io/isthmus/gateway/handover"
)

func notify(states ...string) error { return handover.Notify(os.Getenv, states...) }

// inherit collects listening sockets that are open already: those of the process that runs, else those of systemd.
func (g *Gateway) inherit(ctx context.Context) error {
	if g.cfg.Systemd {
		sockets, err := handover.Inherited(os.Getenv, os.Unsetenv)
		if err != nil {
			return err
		}
		g.inherited = sockets
	}
	if g.cfg.Dir == "" {
		return nil
	}
	taken, err := handover.Take(ctx, handover.Path(g.cfg.Dir))
	if err != nil {
		handover.CloseAll(g.inherited)
		g.inherited = nil
		return err
	}
	if taken != nil {
		g.log.Info("taking over", "from", taken.PID, "addresses", len(taken.Sockets))
		// Whatever both passed is the same socket: the running process got it from systemd.
		g.inherited = append(taken.Sockets, g.inherited...)
		taken.Sockets = nil
	}
	g.mu.Lock()
	g.taken = taken
	g.mu.Unlock()
	return nil
}

// settle is for the first configuration in force: from now on this process is the one that runs. It is called with setting held.
func (g *Gateway) settle(ctx context.Context) {
	select {
	case <-g.settled:
		return
	default:
	}
	g.mu.Lock()
	taken := g.taken
	g.taken = nil
	g.mu.Unlock()
	if taken != nil {
		if err := taken.Ready(ctx); err != nil {
			g.log.Warn("taken over, but whether the process before has stopped accepting is not known", "was", taken.PID, "error", err)
		} else {
			g.log.Info("taken over", "from", taken.PID)
		}
	}
	close(g.settled)
	g.notify("READY=1", "MAINPID="+strconv.Itoa(os.Getpid()))
}

// serveDoors answers people, and the process that takes over, until ctx ends, and tells when this one is over: by ErrHandedOver or the
// fault that keeps it from answering.
func (g *Gateway) serveDoors(ctx context.Context, ended chan<- error) {
	if g.cfg.Dir == "" {
		if g.cfg.Admin != "" {
			if err := g.serveAdmin(ctx, filepath.Join(g.cfg.Admin, adminSocket)); err != nil {
				g.log.Warn("the gateway cannot be asked for its state", "error", fault.Message(err))
			}
		}
		return
	}
	g.mu.Lock()
	waiting := g.taken != nil
	g.mu.Unlock()
	if waiting { // the process before answers still
		select {
		case <-g.settled:
		case <-ctx.Done():
			return
		}
	}
	tell := func(err error) {
		select {
		case ended <- err:
		default:
		}
	}
	people, closePeople := context.WithCancel(ctx)
	defer closePeople()
	var door sync.WaitGroup
	defer door.Wait()
	door.Go(func() {
		if err := g.serveAdmin(people, filepath.Join(g.cfg.Dir, adminSocket)); err != nil {
			tell(err)
		}
	})
	s := &handover.Server{
		Path: handover.Path(g.cfg.Dir), Log: g.log, Give: g.give, Kept: g.kept,
		Took: func() {
			closePeople() // the admin door too is the other's now
			door.Wait()
			g.took()
		},
	}
	took, err := s.Run(ctx)
	switch {
	case err != nil:
		tell(err)
	case took:
		tell(ErrHandedOver)
	}
	<-ctx.Done()
}

// give returns what is listened on. Until took or kept nothing can be set, so that both processes have the same sockets.
func (g *Gateway) give() ([]handover.Socket, error) {
	g.setting.Lock()
	sockets, err := g.sockets()
	if err != nil {
		g.setting.Unlock()
	}
	return sockets, err
}

func (g *Gateway) sockets() (out []handover.Socket, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != serving {
		return nil, fault.New("gateway.give", fault.Unavailable, "it is stopping").Advise("start without taking over once it has ended")
	}
	for key, w := range g.open {
		if w.listener == nil {
			continue
		}
		files, err := g.carrier.Files(w.listener)
		if err != nil {
			handover.CloseAll(out)
			return nil, err
		}
		out = append(out, handover.Socket{Name: w.name, Address: key, Files: files})
	}
	return out, nil
}

func (g *Gateway) kept() { g.setting.Unlock() }

// took stops accepting: the other process does now.
func (g *Gateway) took() {
	defer g.setting.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	g.phase = draining
	for _, w := range g.open {
		if w.listener != nil {
			g.carrier.Close(w.listener)
		}
	}
	g.open = map[string]*listening{}
}

// Listening returns the addresses that are listened on now, by listener: ot/ot-cloud/front/mqtt.
func (g *Gateway) Listening() map[string]netip.AddrPort {
	g.mu.Lock()
	defer g.mu.Unlock()
	out := map[string]netip.AddrPort{}
	for _, w := range g.open {
		if w.listener != nil {
			out[w.name] = w.listener.Addr()
		}
	}
	return out
}

var _ carry.Gate = (*Gateway)(nil)
