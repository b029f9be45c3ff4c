package carry

import (
	"context"
	"errors"
	"net/netip"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// epolled is the engine of workers, each with its own epoll.
type epolled struct {
	c       *Carrier
	workers []*worker
}

// door is a listening socket.
type door struct {
	fd       int32
	listener *Listener
	shared   bool // more than one worker accepts from it
}

// doors are the sockets of one listener, and which worker accepts from which.
type doors struct {
	all    []*door
	opened bool
}

func newEngine(c *Carrier) engine {
	e := &epolled{c: c}
	for range c.cfg.Workers {
		e.workers = append(e.workers, newWorker(c))
	}
	return e
}

func (e *epolled) listen(l *Listener, at netip.AddrPort, both bool) error {
	var d doors
	if err := e.alone(at, both); err != nil {
		return err
	}
	for range e.workers {
		fd, err := newListener(at, both, e.c.cfg.Backlog)
		if err != nil && both && len(d.all) == 0 {
			// A machine without IPv6.
			at, both = netip.AddrPortFrom(netip.IPv4Unspecified(), at.Port()), false
			fd, err = newListener(at, both, e.c.cfg.Backlog)
		}
		if err == nil && l.addr.Port() == 0 {
			l.addr, err = localAddress(fd)
			at = netip.AddrPortFrom(at.Addr(), l.addr.Port())
		}
		if err != nil {
			d.close()
			return err
		}
		d.all = append(d.all, &door{fd: fd, listener: l})
	}
	l.sockets = &d
	return nil
}

// alone refuses an address at which another process listens. The kernel would let two of one user share it, each with a part of the
// connections and neither knowing; who takes over is given the sockets instead. An address of this Carrier's own port is let by.
func (e *epolled) alone(at netip.AddrPort, both bool) error {
	for l := range e.c.listeners {
		if l.addr.Port() == at.Port() {
			return nil
		}
	}
	fd, err := newSocketAt(at, both, false)
	if err == nil {
		closeFD(fd)
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return err
	}
	return nil // whatever else is wrong shows in a moment
}

func (d *doors) close() {
	for _, one := range d.all {
		closeFD(one.fd)
	}
}

func (e *epolled) adopt(l *Listener, files []*os.File) error {
	var d doors
	for _, f := range files {
		fd, err := duplicate(f)
		if err == nil {
			d.all = append(d.all, &door{fd: fd, listener: l, shared: len(files) < len(e.workers)})
			err = unix.SetNonblock(int(fd), true)
		}
		if err == nil {
			l.addr, err = localAddress(fd)
		}
		if err == nil && !l.addr.IsValid() {
			err = unix.EAFNOSUPPORT
		}
		if err == nil {
			tune(fd)
			err = unix.Listen(int(fd), e.c.cfg.Backlog) // which it does already, as a rule
		}
		if err != nil {
			d.close()
			return err
		}
	}
	l.sockets = &d
	return nil
}

func duplicate(f *os.File) (int32, error) {
	raw, err := f.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd := -1
	if e := raw.Control(func(from uintptr) { fd, err = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 3) }); e != nil {
		err = e
	}
	return int32(fd), err
}

func (e *epolled) files(l *Listener) ([]*os.File, error) {
	var files []*os.File
	for _, d := range l.sockets.(*doors).all {
		fd, err := unix.FcntlInt(uintptr(d.fd), unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			for _, f := range files {
				f.Close()
			}
			return nil, os.NewSyscallError("fcntl", err)
		}
		files = append(files, os.NewFile(uintptr(fd), "tcp "+l.addr.String()))
	}
	return files, nil
}

// each calls with every worker and the doors it accepts from. Every door has a worker, every worker a door.
func (e *epolled) each(d *doors, with func(w *worker, d *door)) {
	for i := range max(len(d.all), len(e.workers)) {
		with(e.workers[i%len(e.workers)], d.all[i%len(d.all)])
	}
}

func (e *epolled) open(l *Listener) {
	d := l.sockets.(*doors)
	d.opened = true
	e.each(d, func(w *worker, one *door) { w.post(func() { w.open(one) }) })
}

func (e *epolled) close(l *Listener, queued bool) {
	d := l.sockets.(*doors)
	if d.opened {
		var closing sync.WaitGroup
		e.each(d, func(w *worker, one *door) {
			closing.Add(1)
			if !w.post(func() { w.shut(one, queued); closing.Done() }) {
				closing.Done()
			}
		})
		closing.Wait()
	}
	d.close()
}

func (e *epolled) run(ctx context.Context) error {
	var running sync.WaitGroup
	for _, w := range e.workers {
		if err := w.begin(); err != nil {
			for _, w := range e.workers {
				w.finish()
			}
			return err
		}
	}
	for _, w := range e.workers {
		running.Go(w.run)
	}
	<-ctx.Done()
	for _, w := range e.workers {
		w.post(func() { w.over = true })
	}
	running.Wait()
	return nil
}

// tick wakes the workers which have connections; they know the time themselves.
func (e *epolled) tick(time.Time) {
	for _, w := range e.workers {
		if w.busy.Load() {
			w.wake()
		}
	}
}

func (e *epolled) review(keep func(Visit) bool) {
	var asking sync.WaitGroup
	for _, w := range e.workers {
		asking.Add(1)
		if !w.post(func() { w.review(0, keep, asking.Done) }) {
			asking.Done()
		}
	}
	asking.Wait()
}

func (e *epolled) stats(s *Stats) {
	for _, w := range e.workers {
		w.tally.add(s)
	}
}
