package mqttdoor

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/expiry"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// Config bounds a connection. The zero value works.
type Config struct {
	InFlight     int           // messages given to the log and not answered; 256
	WriteTimeout time.Duration // for one write to a peer that does not read; 30 s
	Patience     time.Duration // how long one who says nothing keeps what is needed for reading at once; 2 s
	// Provisioning takes a peer whose user name is that of a registration ({idScope}/registrations/..), with its CONNECT, and answers it.
	// It returns when the connection is over. nil refuses such peers.
	Provisioning func(context.Context, *front.Conn, *mqtt.Reader, *mqtt.Connect)
}

const (
	// maxConnect is the largest CONNECT: a strange will and a long token fit, and a stranger cannot make us hold more.
	maxConnect = 72 << 10
	// maxPacket is the largest packet of a known device: body and bag of hub.MaxMessage, and a topic of any length around the bag.
	maxPacket = hub.MaxMessage + 64<<10 + 8
	// longestSilence caps one and a half keep-alive times, and stands for a keep-alive of 0 (IoT Hub: default keep-alive timeout).
	longestSilence = 1767 * time.Second
	// firstBuffer holds what a device says that is silent most of the time.
	firstBuffer = 512
)

// Door serves MQTT.
type Door struct {
	cfg     Config
	server  *hub.Server
	front   *front.Front
	log     *slog.Logger
	clock   clock.Clock
	buffers mqtt.Buffers // of readers
	outs    sync.Pool    // *[]byte of outboxes
	expiry  *expiry.Expiry
}

// New returns a door to the server's hubs.
func New(cfg Config, server *hub.Server, fr *front.Front, log *slog.Logger, clk clock.Clock) *Door {
	if cfg.InFlight <= 0 {
		cfg.InFlight = 256
	}
	if cfg.WriteTimeout <= 0 {
		cfg.WriteTimeout = 30 * time.Second
	}
	if cfg.Patience <= 0 {
		cfg.Patience = 2 * time.Second
	}
	cfg.Patience = max(cfg.Patience, 50*time.Microsecond) // a deadline that is over before the read begins lets nothing be read
	return &Door{cfg: cfg, server: server, front: fr, log: log, clock: clk, expiry: expiry.New(clk)}
}

// Serve accepts connections until ctx ends, closes ln, and returns nil when all of them have ended.
func (d *Door) Serve(ctx context.Context, ln net.Listener) error {
	return d.front.Serve(ctx, ln, "mqtt", d.Handle)
}

// Handle takes a connection over whose setup deadline is running. It returns when the peer is refused, or is a device and served: then the
// connection is kept until it ends, which it does soon after it was closed. ctx is that of the Serve which accepted it.
func (d *Door) Handle(ctx context.Context, conn *front.Conn) {
	reader := mqtt.NewReader(conn, maxConnect)
	reader.Buffers = &d.buffers
	if !conn.MayRest() {
		reader.First = firstBuffer
	}
	c, no := d.connect(ctx, conn, reader)
	if no != nil {
		tell(conn, no.who, no.err)
		if no.answer != nil {
			bye(conn, no.answer)
		}
		_ = conn.Close() // it may be closed already
		return
	}
	if c == nil { // somebody else has served it
		_ = conn.Close()
		return
	}
	conn.Keep()
	go c.serve()
}

// tell lets people know why a connection ended, unless we ended it on purpose or the peer just went.
func tell(conn *front.Conn, who string, err error) {
	if conn.Context().Err() != nil || conn.Cause() != 0 {
		return
	}
	if errors.Is(err, mqtt.ErrMalformed) || errors.Is(err, mqtt.ErrVersion) || errors.Is(err, mqtt.ErrTooLarge) {
		conn.Refuse(who, fault.Newf("mqttdoor", fault.Invalid, "%v", err).Because(err))
	} else if f, ok := errors.AsType[*fault.Error](err); ok {
		conn.Refuse(who, f)
	}
}

// silent tells whether reading ended because nothing came for too long.
func silent(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }

// bye sends a last packet and lets the peer read it: closing with unread bytes in our buffer would destroy it on its way.
func bye(conn *front.Conn, last mqtt.Packet) {
	b, _ := last.Append(nil) // a CONNACK has no field that could be too long
	_ = conn.SetDeadline(time.Now().Add(time.Second))
	if _, err := conn.Write(b); err == nil && conn.CloseWrite() == nil {
		_, _ = io.CopyN(io.Discard, conn, maxConnect) // until the peer closes, or the second is over
	}
}
