package eventhubs

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptext"
	"github.com/isthmus-io/isthmus/wire/amqp/client"
)

const (
	messagesEvents = "messages/events" // the built-in endpoint of an IoT hub, at the hub itself
	connectTime    = 30 * time.Second
	farewell       = time.Second
)

// place is where an event hub is.
type place struct{ host, entity string }

// access is how the event hub behind an end is reached, and with which proof.
type access struct {
	end   *end.End
	proof proof
	plain bool   // without TLS
	port  string // the connection string's; may be empty
	log   *slog.Logger
	clk   clock.Clock

	mu   sync.Mutex // guards the fields below
	at   place
	asks bool // an IoT hub has to be asked where its events are
	home place
}

// newAccess says how an event hub is reached; entity may be empty when it is that of the connection string, or of an IoT hub.
func newAccess(e *end.End, entity string, log *slog.Logger, clk clock.Clock) (*access, error) {
	const op = "eventhubs.New"
	a := &access{end: e, log: log, clk: clk, at: place{e.HostName, entity}}
	switch {
	case e.Secret == "":
		if e.Token == nil || !e.Served {
			return nil, fault.Newf(op, fault.Invalid, "identities of bridges mean nothing at %s", e.Name).
				Advise("put a connection string into a file of the bridge's process and name it as the secret")
		}
		a.proof = identityProof{e}
	case strings.Contains(strings.ToLower(e.Secret), "endpoint="):
		c, err := readEventHubs(e.Secret)
		if err != nil {
			return nil, err
		}
		a.proof, a.plain, a.port = keyProof{c.Policy, c.Key, true, clk}, c.Plain, c.Port
		a.at.host = c.HostName
		if entity == "" {
			a.at.entity = c.Entity
		}
	default:
		c, err := readHub(e.Secret)
		if err != nil {
			return nil, err
		}
		a.proof, a.at.host = keyProof{c.Policy, c.Key, false, clk}, c.HostName
	}
	if a.at.entity == "" && e.Type == resource.TypeIoTHub {
		a.at.entity, a.asks = messagesEvents, true
	}
	switch {
	case a.at.entity == "":
		return nil, fault.Newf(op, fault.Invalid, "no event hub is named at %s", e.Name).Advise("name it, or use a connection string that has an EntityPath")
	case a.at.host == "":
		return nil, fault.Newf(op, fault.Invalid, "the service behind %s has no host name", e.Name).Advise("give the service a host name, or the bridge a connection string")
	}
	a.home = a.at
	return a, nil
}

// connection is one that may do what the bridge may.
type connection struct {
	*client.Conn
	session *client.Session
	place   place
	stop    context.CancelFunc
	renews  sync.WaitGroup
}

// close ends it, and what it has started.
func (c *connection) close() {
	c.stop()
	ctx, cancel := context.WithTimeout(context.Background(), farewell)
	defer cancel()
	c.Close(ctx)
	c.renews.Wait()
}

// connect opens a connection on which the event hub may be used.
func (a *access) connect(ctx context.Context) (*connection, error) {
	ctx, cancel := context.WithTimeout(ctx, connectTime)
	defer cancel()
	a.mu.Lock()
	at, asks := a.at, a.asks
	a.mu.Unlock()
	c, err := a.open(ctx, at)
	if err != nil {
		a.forget() // it may be elsewhere by now
		return nil, explain(err)
	}
	if !asks {
		return c, nil
	}
	to, err := a.ask(ctx, c)
	if err != nil {
		c.close()
		return nil, explain(err)
	}
	a.mu.Lock()
	a.at, a.asks = to, false
	a.mu.Unlock()
	if to == at {
		return c, nil
	}
	c.close()
	if c, err = a.open(ctx, to); err != nil {
		a.forget()
		return nil, explain(err)
	}
	return c, nil
}

// forget asks again, next time, where the events of an IoT hub are.
func (a *access) forget() {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.home.entity == messagesEvents {
		a.at, a.asks = a.home, true
	}
}

// ask finds out where the events of an IoT hub are (IoT Hub: read from the built-in endpoint).
func (a *access) ask(ctx context.Context, c *connection) (place, error) {
	r, err := c.session.Receiver(ctx, client.ReceiverConfig{Source: "amqps://" + c.place.host + "/" + messagesEvents + "/$management", Prefetch: 1})
	if err == nil {
		r.Close(ctx)
		return c.place, nil
	}
	e, ok := errors.AsType[*amqp.Error](err)
	if !ok || c.Err() != nil {
		return place{}, err
	}
	if e.Condition != amqp.ConditionLinkRedirect { // what is really wanted will tell what is wrong
		return c.place, nil
	}
	host, _ := amqptext.Text(e.Info.Get("hostname"))
	if host == "" {
		host, _ = amqptext.Text(e.Info.Get("network-host"))
	}
	address, _ := amqptext.Text(e.Info.Get("address"))
	entity := strings.TrimSuffix(amqptext.Path(address), "/$management")
	if u, err := url.Parse("sb://" + host); err != nil || u.Host != host || host == "" || len(host) > 253 || entity == "" || len(entity) > 300 {
		return place{}, fault.Newf("eventhubs.Connect", fault.Unavailable, "%s sends its readers to %.100q, which is no event hub", c.place.host, host)
	}
	a.log.Debug("bridge: the hub's events are elsewhere", "hub", c.place.host, "host", host, "entity", entity)
	return place{host, entity}, nil
}

// open connects to a place and proves the bridge there.
func (a *access) open(ctx context.Context, at place) (*connection, error) {
	raw, err := a.dial(ctx, at.host)
	if err != nil {
		return nil, err
	}
	conn, err := client.Connect(ctx, raw, client.Config{Hostname: at.host}, a.clk)
	if err != nil {
		return nil, err
	}
	life, stop := context.WithCancel(context.Background())
	c := &connection{Conn: conn, place: at, stop: stop}
	fail := func(err error) (*connection, error) {
		c.close()
		return nil, err
	}
	if c.session, err = conn.Session(ctx); err != nil {
		return fail(err)
	}
	own, err := conn.Session(ctx)
	if err != nil {
		return fail(err)
	}
	claims, err := own.Requester(ctx, "$cbs")
	if err != nil {
		return fail(err)
	}
	expires, err := a.put(ctx, claims, at)
	if err != nil {
		return fail(err)
	}
	c.renews.Go(func() { a.renew(life, c, claims, expires) })
	return c, nil
}

func (a *access) put(ctx context.Context, claims *client.Requester, at place) (time.Time, error) {
	t, err := a.proof.token(ctx, at)
	if err != nil {
		return time.Time{}, err
	}
	return t.expires, claims.PutToken(ctx, t.kind, "amqps://"+at.host+"/"+at.entity, t.text)
}

const (
	renewBefore = 5 * time.Minute // a token's end
	renewAgain  = 20 * time.Second
)

// renew puts new tokens as long as the connection stands.
func (a *access) renew(life context.Context, c *connection, claims *client.Requester, expires time.Time) {
	left := func() time.Duration {
		n := expires.Sub(a.clk.Now())
		return max(n-min(renewBefore, n/4), time.Second)
	}
	for wait := left(); ; {
		fired, stop := a.clk.After(wait)
		select {
		case <-fired:
		case <-c.Done():
			stop()
			return
		case <-life.Done():
			stop()
			return
		}
		ctx, cancel := context.WithTimeout(life, connectTime)
		until, err := a.put(ctx, claims, c.place)
		cancel()
		if err == nil {
			expires = until
			wait = left()
			continue
		}
		wait = renewAgain
		if life.Err() == nil && c.Err() == nil {
			a.log.Warn("bridge: a token could not be renewed", "endpoint", a.end.Name, "until", expires, "err", err)
		}
	}
}

// portOf is where AMQP is spoken, and whether inside a WebSocket.
func (a *access) portOf() (port uint16, web bool) {
	if named, err := strconv.ParseUint(a.port, 10, 16); err == nil && a.end.Port(uint16(named)) == uint16(named) {
		return uint16(named), !a.plain && (named == 443 || named == 8443)
	}
	if a.plain {
		return a.end.Port(5672, 5671), false
	}
	port = a.end.Port(5671, 443)
	return port, port == 443 || port == 8443
}
