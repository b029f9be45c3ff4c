package mqtt

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/partway"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

type destination struct {
	bridge, name string
	end          *end.End
	spec         resource.MQTTDestination
	topic        template
	log          *slog.Logger
	clk          clock.Clock

	user, password string
	hasPassword    bool

	accounts partway.Accounts
	warned   atomic.Bool

	mu    sync.Mutex // guards the map
	lanes map[string]*lane
}

// New returns the broker that args.Destination.MQTT describes. It opens no connection yet. Invalid: the topic is no template, or the secret
// cannot be a user and a password.
//
// Faults of Write pass by themselves or when somebody mends them: Unavailable, Timeout, Exhausted, Unauthenticated, Denied, Conflict; Invalid when
// the broker cannot do what the destination needs. Events that the broker will never take are *event.Refused.
func New(args bridge.DestinationArgs) (bridge.Destination, error) {
	const op = "mqtt.New"
	spec, e := args.Destination.MQTT, args.End
	if spec == nil || e == nil {
		return nil, fault.New(op, fault.Invalid, "the destination is no MQTT broker behind an endpoint")
	}
	d := &destination{bridge: args.Bridge, name: args.Name, end: e, spec: *spec, log: args.Log, clk: args.Clock, lanes: map[string]*lane{}}
	if d.clk == nil {
		d.clk = clock.System{}
	}
	if d.log == nil {
		d.log = slog.New(slog.DiscardHandler)
	}
	var err error
	if d.topic, err = parseTemplate(spec.Topic); err != nil {
		return nil, err
	}
	d.user, d.password, d.hasPassword = strings.Cut(e.Secret, ":")
	if e.Secret != "" && d.user == "" || clean(d.user) != d.user || len(d.user) > 65535 || len(d.password) > 65535 {
		return nil, fault.New(op, fault.Invalid, "the secret is not user:password").Advise("write both into the secret's file, with a colon between them")
	}
	if d.user != "" && !spec.TLS {
		d.log.Warn("the password crosses the endpoint's service unencrypted: use tls", "bridge", args.Name)
	}
	return d, nil
}

// Close implements bridge.Destination. No Write is under way.
func (d *destination) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	var all sync.WaitGroup
	for _, l := range d.lanes {
		if l.conn != nil {
			all.Go(l.conn.goodbye)
		}
	}
	all.Wait()
	clear(d.lanes)
	return nil
}

// Write implements bridge.Destination.
func (d *destination) Write(ctx context.Context, name string, batch []*event.Event) error {
	d.mu.Lock()
	l := d.lanes[name]
	if l == nil {
		sum := sha256.Sum256([]byte(d.bridge + "/" + name))
		l = &lane{d: d, id: "isthmus" + hex.EncodeToString(sum[:8])} // 23 letters and digits, as much as every broker takes (3.1.1, 3.1.3.1)
		d.lanes[name] = l
	}
	d.mu.Unlock()
	account := d.accounts.Begin(name, batch)
	err := l.write(ctx, batch, account)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return d.accounts.End(name, batch, account, err)
}
