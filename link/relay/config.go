package relay

import (
	"net"
	"time"

	"github.com/isthmus-io/isthmus/identity"
)

// Config bounds a relay. The zero value works: every field left at zero means the default named beside it.
type Config struct {
	// Control is the host:port to which TLS connections of others than agents are passed, byte for byte. With neither Control nor
	// ControlHandler they are closed.
	Control string
	// ControlHandler takes such connections inside this process instead (see Handoff). It must not block, owns the
	// connection from then on and must close it. The connection replays what was read to look at it.
	ControlHandler func(net.Conn)
	// Allow says whether an agent may ask for another at all; refused asks look like asks for an agent that is not connected.
	// Nil allows all agents of the trust domain: who may do what is decided by the agent asked, flow by flow.
	Allow func(asker, target identity.ID) bool

	MaxVisitors   int // connections held at one time, 65536
	MaxPerSource  int // connections held at one time from one source address (IPv6: one /64), 8192
	MaxStrangers  int // connections whose first bytes or handshake are not complete, 2048; a quarter of them from one source
	MaxWaiting    int // halves of pairs waiting for the other half, 4096
	MaxTickets    int // tickets issued and not yet used or expired, 65536
	MaxPerPerson  int // signalling connections of one person at one time: one for each program that is in use, 256
	MaxAgentQueue int // frames queued for one agent before it is found too slow, 256

	FirstBytesTimeout time.Duration // for the preface or the whole ClientHello, 5 s
	HandshakeTimeout  time.Duration // for an agent's TLS handshake, and to reach the control address, 10 s
	TicketLife        time.Duration // from issue, 10 s
	SilenceTimeout    time.Duration // without any frame from an agent, 45 s
	PairIdle          time.Duration // without a byte in either direction of a pair, 5 min
	ControlIdle       time.Duration // the same for a connection passed to Control, 1 h
	AsksPerSecond     float64       // asks and offers answered, per asking agent or person, 20
	AskBurst          int           // asks one agent or person may have in a burst, 100
}

func (c Config) withDefaults() Config {
	number := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	number(&c.MaxVisitors, 65536)
	number(&c.MaxPerSource, 8192)
	number(&c.MaxStrangers, 2048)
	number(&c.MaxWaiting, 4096)
	number(&c.MaxTickets, 65536)
	number(&c.MaxPerPerson, 256)
	number(&c.MaxAgentQueue, 256)
	number(&c.AskBurst, 100)
	span(&c.FirstBytesTimeout, 5*time.Second)
	span(&c.HandshakeTimeout, 10*time.Second)
	span(&c.TicketLife, 10*time.Second)
	span(&c.SilenceTimeout, 45*time.Second)
	span(&c.PairIdle, 5*time.Minute)
	span(&c.ControlIdle, time.Hour)
	if c.AsksPerSecond <= 0 {
		c.AsksPerSecond = 20
	}
	return c
}
