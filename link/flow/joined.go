package flow

import (
	"context"
	"net"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Joined is a stream which somebody else decided about and the connection he dialled for it: they are passed on to each other as those of
// Services are.
type Joined struct {
	f     flow
	count counters
}

// Join joins a stream to a connection, which belong to the Joined from now on: Carry or Cut closes them. TCP and Unix sockets are the
// cheap ones. A connection without CloseWrite is never told the end of data. m may be nil: no limit.
func Join(stream *mux.Stream, c net.Conn, clk clock.Clock, m Meter) *Joined {
	j := &Joined{}
	ctx, cancel := context.WithCancel(context.Background())
	j.f = flow{count: &j.count, provider: true, stream: stream, socket: socketOf(c), clk: clk, ctx: ctx, cancel: cancel}
	j.f.meter.Store(meterOf(m))
	return j
}

// Carry passes bytes both ways until both directions have ended or one broke, once. Orderly says that both ended; reset is what the
// person at the other end of the stream sent, if that is what ended it.
func (j *Joined) Carry() (orderly bool, reset *mux.ResetError) {
	defer j.f.cancel()
	reset = j.f.forward()
	return j.f.ended.Load() == socketEnded|streamEnded, reset
}

// Cut ends both directions at once, whatever they do, and resets the stream with the code and the words. It may be called before Carry,
// which then returns at once, and more than once; the first counts.
func (j *Joined) Cut(code tunnel.ResetCode, words string) { j.f.sever(code, words) }

// SetMeter replaces the meter, also while bytes move; nil: no limit from now on.
func (j *Joined) SetMeter(m Meter) { j.f.setMeter(m) }

// Passed returns the bytes from the stream to the connection and those from the connection to the stream, so far.
func (j *Joined) Passed() (sent, received uint64) {
	i := j.f.snapshot()
	return i.Sent, i.Received
}

// KeepAlive is how flows notice a dead peer, for those who dial connections to be joined.
func KeepAlive() net.KeepAliveConfig { return keepAlive() }

// DialTimeout is how long the target of a flow may take to answer.
const DialTimeout = dialTimeout
