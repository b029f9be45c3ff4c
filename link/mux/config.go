package mux

import (
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Config bounds a session. Its zero value works; the defaults stand beside the fields.
type Config struct {
	MaxStreams       int           // streams the peer may have open, and streams we may: 65,536 each
	AcceptBacklog    int           // streams that wait for Accept before more are refused: 1,024
	InitialWindow    uint32        // bytes a stream may receive unread at first: 256 KiB, which is also the least
	MaxWindow        uint32        // to which it grows while its reader keeps up: 8 MiB
	MaxMemory        int64         // received and unread bytes of all streams; half of it may go to grown windows: 128 MiB
	KeepAlive        time.Duration // between pings: 15 s; negative sends none
	KeepAliveTimeout time.Duration // without a byte from the peer, after which the session ends: 30 s
	Doubt            time.Duration // a stream's wait for its Accept, after which the peer is asked for a sign of life: 1 s; negative: never
	DoubtTimeout     time.Duration // without that sign, after which the session ends; more while much is on its way: 3 s
	Linger           time.Duration // how long a closed stream waits for the peer's end of it: 60 s
	Clock            clock.Clock   // for pings and window growth: the system's
}

func (c Config) withDefaults() Config {
	set := func(d *time.Duration, v time.Duration) {
		if *d == 0 {
			*d = v
		}
	}
	if c.MaxStreams <= 0 {
		c.MaxStreams = 65536
	}
	if c.AcceptBacklog <= 0 {
		c.AcceptBacklog = 1024
	}
	if c.MaxMemory <= 0 {
		c.MaxMemory = 128 << 20
	}
	if c.MaxWindow == 0 {
		c.MaxWindow = 8 << 20
	}
	c.InitialWindow = min(max(c.InitialWindow, tunnel.InitialWindow), tunnel.MaxWindow/2)
	c.MaxWindow = min(max(c.MaxWindow, c.InitialWindow), tunnel.MaxWindow/2)
	set(&c.KeepAlive, 15*time.Second)
	set(&c.KeepAliveTimeout, 30*time.Second)
	set(&c.Doubt, time.Second)
	set(&c.DoubtTimeout, 3*time.Second)
	set(&c.Linger, 60*time.Second)
	if c.Clock == nil {
		c.Clock = clock.System{}
	}
	return c
}

// Bounds of what waits to be sent. A stream may queue sendBudget divided by the number of streams that queue anything, but never
// less than sendLeast nor more than sendMost, plus one frame.
const (
	sendBudget = 2 << 20
	sendMost   = 64 << 10
	sendLeast  = 8 << 10
	batchMost  = 64 << 10                  // taken from the queues at once; a few bytes that come later wait for this much
	maxPayload = 64<<10 - tunnel.HeaderLen // so that header and payload fill whole TLS records
	takeMost   = 64 << 10                  // after which WriteTo takes no further segment before it writes
	smallFrame = 4 << 10                   // up to here a copy is cheaper than a buffer or a record of its own
	leastRTT   = 2 * time.Millisecond      // what a busy machine adds to the shortest path
	endOfIDs   = 1 << 31
	maxPongs   = 16
	maxRefused = 1024
)
