package engine

import (
	"context"
	"net"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// Conn is one connection.
type Conn struct{}

func (c *Conn) Context() context.Context { return nil }
func (c *Conn) Close(e *amqp.Error)      {}
func (c *Conn) PeerOpen() *amqp.Open     { return nil }
func (c *Conn) Who() any                 { return nil }
func (c *Conn) NetConn() net.Conn        { return nil }
func (c *Conn) Sessions() int            { return 0 }

// Session is one session.
type Session struct{}

func (s *Session) ID() uint64  { return 0 }
func (s *Session) Conn() *Conn { return nil }

// Link is one link of a session.
type Link struct{}

// Accept is what an attach is answered with.
type Accept struct {
	Properties amqp.Map
	Offered    []amqp.Symbol
	MaxMessage uint64       // bytes; 0: Config's
	Credit     uint32       // of a link the peer sends on; 0: Config's
	Source     *amqp.Source // nil: echoed
	Target     *amqp.Target // nil: echoed
	Receive    func(*Delivery)
}

func (l *Link) Conn() *Conn              { return nil }
func (l *Link) Session() *Session        { return nil }
func (l *Link) Name() string             { return "" }
func (l *Link) Peer() *amqp.Attach       { return nil }
func (l *Link) PeerReceives() bool       { return false }
func (l *Link) Address() string          { return "" }
func (l *Link) Accept(a Accept)          {}
func (l *Link) Refuse(e *amqp.Error)     {}
func (l *Link) Detach(e *amqp.Error)     {}
func (l *Link) Context() context.Context { return nil }
func (l *Link) OnEnd(f func())           {}

// Delivery is a message that came.
type Delivery struct{}

func (d *Delivery) Message() []byte      { return nil }
func (d *Delivery) Format() uint32       { return 0 }
func (d *Delivery) Tag() []byte          { return nil }
func (d *Delivery) Settled() bool        { return false }
func (d *Delivery) Link() *Link          { return nil }
func (d *Delivery) Accept()              {}
func (d *Delivery) Reject(e *amqp.Error) {}
func (d *Delivery) Release()             {}

// Modify settles the delivery as modified (3.4.5).
func (d *Delivery) Modify(m amqp.Modified) {}

// Outgoing is a message to be sent.
type Outgoing struct {
	Parts     [][]byte // one after the other; good again when Send returns
	Format    uint32
	Tag       []byte // at most 32 bytes; nil: made
	Settled   bool
	Done      func(amqp.State) // of an unsettled one: once, with what the peer said; nil when the link ended first
	Batchable bool
}

func (l *Link) Await(ctx context.Context) error            { return nil }
func (l *Link) Send(ctx context.Context, m Outgoing) error { return nil }
func (l *Link) TrySend(m Outgoing) bool                    { return false }
func (l *Link) Credit() uint32                             { return 0 }
func (l *Link) Flowed() <-chan struct{}                    { return nil }
func (l *Link) Idle()                                      {}
