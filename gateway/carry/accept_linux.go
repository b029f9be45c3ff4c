package carry

import (
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

const (
	acceptsATurn = 64
	mostQueued   = 64 << 10 // accepted from a door that is being shut
	acceptPause  = 50 * time.Millisecond
)

// open begins to accept at a door.
func (w *worker) open(d *door) {
	number := -1
	for i, other := range w.doors {
		if other == nil {
			number = i
		}
	}
	if number < 0 {
		number = len(w.doors)
		w.doors = append(w.doors, nil)
	}
	w.doors[number] = d
	w.watch(number)
}

func (w *worker) watch(number int) {
	d := w.doors[number]
	e := unix.EpollEvent{Events: unix.EPOLLIN, Fd: int32(number), Pad: aboutDoor}
	if d.shared {
		e.Events |= unix.EPOLLEXCLUSIVE
	}
	if err := unix.EpollCtl(int(w.epoll), unix.EPOLL_CTL_ADD, int(d.fd), &e); err != nil {
		w.c.log.Error("a listening socket cannot be watched: connections to it will wait", "address", d.listener.addr, "error", err)
	}
}

// shut stops accepting at a door, with queued after everything that waits there.
func (w *worker) shut(d *door, queued bool) {
	for number, other := range w.doors {
		if other != d {
			continue
		}
		w.doors[number] = nil
		_ = unix.EpollCtl(int(w.epoll), unix.EPOLL_CTL_DEL, int(d.fd), nil)
		for n := 0; queued && n < mostQueued && w.acceptOne(d); n++ {
		}
	}
}

func (w *worker) accept(d *door) {
	for n := 0; n < acceptsATurn && w.acceptOne(d); n++ {
	}
}

// acceptOne tells whether there may be another.
func (w *worker) acceptOne(d *door) bool {
	fd, peer, e := accept(d.fd)
	switch e {
	case 0:
		w.arrived(d.listener.at.Load(), fd, plain(peer))
		return true
	case unix.EAGAIN:
		return false
	case unix.EMFILE, unix.ENFILE:
		return w.turnAway(d)
	case unix.ENOBUFS, unix.ENOMEM:
		w.pause()
		return false
	case unix.EBADF, unix.EINVAL, unix.ENOTSOCK:
		w.c.log.Error("a listening socket is broken", "address", d.listener.addr, "error", e)
		w.pause()
		return false
	}
	return true // the peer has left, or the network has: the next may be there
}

// turnAway resets one connection with the file descriptor that was kept for this, so that the queue does not wake us for ever and its
// peers do not wait for ever.
func (w *worker) turnAway(d *door) bool {
	if w.spare >= 0 {
		closeFD(w.spare)
		fd, peer, e := accept(d.fd)
		if e == 0 {
			reset(fd)
			w.c.drop(&w.tally, d.listener.at.Load(), plain(peer), ReasonFull)
		}
		w.spare = spareFD()
		if e == 0 && w.spare >= 0 {
			return true
		}
	} else {
		w.spare = spareFD()
	}
	w.pause()
	return false
}

func spareFD() int32 {
	fd, err := unix.FcntlInt(0, unix.F_DUPFD_CLOEXEC, 3)
	if err != nil {
		if fd, err = unix.Eventfd(0, unix.EFD_CLOEXEC); err != nil {
			return -1
		}
	}
	return int32(fd)
}

// pause leaves all queues alone for a moment.
func (w *worker) pause() {
	if w.paused == 0 {
		for _, d := range w.doors {
			if d != nil {
				_ = unix.EpollCtl(int(w.epoll), unix.EPOLL_CTL_DEL, int(d.fd), nil)
			}
		}
	}
	w.paused = w.now + int64(acceptPause)
}

func (w *worker) resume() {
	w.paused = 0
	for number, d := range w.doors {
		if d != nil {
			w.watch(number)
		}
	}
}

// arrived begins the life of a connection.
func (w *worker) arrived(at *Entrance, fd int32, peer netip.AddrPort) {
	w.tally.accepted.Add(1)
	if !w.c.admit() {
		reset(fd)
		w.c.drop(&w.tally, at, peer, ReasonFull)
		return
	}
	l := w.newLink()
	l.at, l.peer, l.began, l.last = at, peer, w.now, w.now
	l.fd = [2]int32{fd, -1}
	w.move(l, opening)
	if at.trusts(peer.Addr()) {
		w.wheel.arm(l, l.due())
		w.hear(l)
		return
	}
	if !w.arrive(l, peer) {
		return
	}
	if at.TLS {
		w.wheel.arm(l, l.due())
		w.hear(l)
		return
	}
	w.choose(l, Hello{})
}
