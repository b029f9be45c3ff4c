package httpdoor

import (
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/blobdoor"
	"github.com/isthmus-io/isthmus/hub/configuration"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/hub/job"
	"github.com/isthmus-io/isthmus/hub/stream"
	"github.com/isthmus-io/isthmus/localsocket"
)

// Config names the rooms whose routes the door has besides those of the hub itself. What is nil is not served: 404 with words. The zero
// value works.
type Config struct {
	Jobs           *job.Scheduler
	Configurations *configuration.Engine
	Streams        *stream.Gateway
	Files          *file.Service

	Provisioning http.Handler // everything but WebSockets for the host name of a provisioning service; see ArrivalOf
	Namespaces   http.Handler // the same for the host name of a namespace of event hubs
	Storage      http.Handler // the same for the host name of a blob service, also for peers who may not speak to it

	// WebSocket holds the doors of what is spoken inside WebSockets, by subprotocol. A door has the connection from then on.
	WebSocket map[string]func(context.Context, *front.Conn)
}

// Door serves HTTPS.
type Door struct {
	cfg    Config
	server *hub.Server
	front  *front.Front
	log    *slog.Logger
	clock  clock.Clock
	blobs  *blobdoor.Door // nil without Config.Files
}

// New returns a door to the server's hubs.
func New(cfg Config, server *hub.Server, fr *front.Front, log *slog.Logger, clk clock.Clock) *Door {
	d := &Door{cfg: cfg, server: server, front: fr, log: log, clock: clk}
	if cfg.Files != nil {
		d.blobs = blobdoor.New(cfg.Files, clk)
	}
	return d
}

const (
	headerTimeout = 30 * time.Second
	bodyTimeout   = time.Minute
	idleTimeout   = 2 * time.Minute
	drainTimeout  = 2 * time.Second
	maxHeader     = 64 << 10
)

// Serve answers requests until ctx ends, closes ln, and returns nil when all of it has ended.
func (d *Door) Serve(ctx context.Context, ln net.Listener) error {
	feed := &feed{conns: make(chan net.Conn), closed: make(chan struct{}), addr: ln.Addr()}
	srv := d.newServer(d.handler(false))
	srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
		return context.WithValue(ctx, connKey{}, c.(*tracked))
	}
	srv.ConnState = begin
	served := make(chan error, 1)
	go func() { served <- srv.Serve(feed) }()
	// front closes every connection when its context ends, so requests get their time to finish before it does.
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	go func() {
		select {
		case <-ctx.Done():
			d.drain(ctx, srv)
		case <-own.Done():
		}
		cancel()
	}()
	err := d.front.Serve(own, ln, "https", func(ctx context.Context, c *front.Conn) {
		_ = c.SetDeadline(time.Time{}) // from here net/http keeps the time
		c.Keep()
		select {
		case feed.conns <- &tracked{Conn: c}:
		case <-ctx.Done():
			c.Leave()
		}
	})
	cancel()
	return errors.Join(err, ignoreClosed(srv.Close()), ignoreClosed(<-served))
}

// ServeAdmin answers requests on a socket file in the hub's data directory until ctx ends. Whoever may open the file may do everything.
func (d *Door) ServeAdmin(ctx context.Context, path string) error {
	ln, err := localsocket.Listen(path)
	if err != nil {
		return err
	}
	srv := d.newServer(d.handler(true))
	stopped := make(chan struct{})
	served := make(chan error, 1)
	go func() { served <- srv.Serve(ln) }()
	go func() {
		defer close(stopped)
		<-ctx.Done()
		d.drain(ctx, srv)
	}()
	<-stopped
	return errors.Join(ignoreClosed(srv.Close()), ignoreClosed(<-served))
}

func (d *Door) newServer(h http.Handler) *http.Server {
	return &http.Server{
		Handler: h, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(d.log.Handler(), slog.LevelDebug),
	}
}

// drain lets requests finish after ctx ended.
func (d *Door) drain(ctx context.Context, srv *http.Server) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTimeout)
	defer cancel()
	_ = srv.Shutdown(ctx) // what is left after the time is closed by the caller
}

func ignoreClosed(err error) error {
	if errors.Is(err, http.ErrServerClosed) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// feed is a listener which gives net/http the connections that front made.
type feed struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
	addr   net.Addr
}

func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.closed:
		return nil, net.ErrClosed
	}
}

func (f *feed) Close() error {
	f.once.Do(func() { close(f.closed) })
	return nil
}

func (f *feed) Addr() net.Addr { return f.addr }

type connKey struct{}
