package amqpnode

import (
	"context"
	"strings"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/front"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// SASL mechanisms, beside those of RFC 4422 the ones Azure's SDKs ask for.
const (
	anonymous = "ANONYMOUS"
	plainText = "PLAIN"
	external  = "EXTERNAL"
	claims    = "MSSBCBS" // the same as ANONYMOUS: claims come later, to $cbs
	tpm       = "TPM"
)

// arrival is one connection on its way to a door. It implements engine.Acceptor.
type arrival struct {
	router *Router
	conn   *front.Conn
	plain  bool
	proved func(*hub.Hub) bool // tells whether what SASL proved is good at a service; nil: nothing was proved

	peer    *engine.Conn // set when it has come to a door, with what follows
	handler engine.Handler
	guest   *guest // nil: it may speak to the service from its side
	host    string // a name of the service
	hub     string // its id
}

// Mechanisms implements engine.Acceptor.
func (a *arrival) Mechanisms() []amqp.Symbol {
	list := []amqp.Symbol{claims, plainText, anonymous}
	if len(a.conn.Certificates) > 0 {
		list = append(list, external)
	}
	return append(list, tpm)
}

// Authenticate implements engine.Acceptor. Who asks for no proof of his own here proves himself with links or claims.
func (a *arrival) Authenticate(ctx context.Context, x *engine.SASL) (any, error) {
	op := "amqpnode.Authenticate"
	switch string(x.Mechanism) {
	case anonymous, claims:
		return nil, nil //nolint:nilnil // nobody in particular
	case external:
		if len(a.conn.Certificates) == 0 {
			return nil, a.refuse("", fault.New(op, fault.Unauthenticated, "the peer wants to prove itself with a certificate and showed none in TLS"))
		}
		return nil, nil //nolint:nilnil // the door looks at the certificate when it knows what for
	case tpm:
		a.proved = (*hub.Hub).Provisioning
		who, err := a.router.doors.Provisioning.AuthenticateTPM(ctx, a.conn, x)
		return who, a.refuse("", err)
	case plainText:
		user, password, err := credentials(x.Initial)
		if err != nil {
			return nil, a.refuse("", err)
		}
		who, err := a.byPassword(ctx, x.Hostname, user, password)
		return who, a.refuse(user, err)
	}
	return nil, a.refuse("", fault.Newf(op, fault.Invalid, "the SASL mechanism %.40q is not known here", string(x.Mechanism)).
		Advise("use ANONYMOUS and a token for $cbs"))
}

// byPassword tells by the form of the user's name whose door it is, and keeps where the password is good: a peer may name another service
// in its open than in SASL.
func (a *arrival) byPassword(ctx context.Context, host, user, password string) (any, error) {
	doors := a.router.doors
	switch {
	case doors.Provisioning.IsFor(user):
		a.proved = (*hub.Hub).Provisioning
		return doors.Provisioning.AuthenticatePlain(ctx, a.conn, a.conn.Certificates, user, password)
	case strings.Contains(user, "@sas."):
		a.proved = func(h *hub.Hub) bool { return h.Type() == resource.TypeIoTHub } // which hub is for its door to say
		return doors.Hubs.AuthenticatePlain(ctx, a.conn, user, password)
	}
	h, limited, err := a.find(host)
	if err != nil {
		return nil, err
	}
	if limited {
		return nil, h.NotTrusted("amqpnode.Authenticate", "")
	}
	dir, err := a.directory(h)
	if err != nil {
		return nil, err
	}
	a.proved = func(other *hub.Hub) bool { return other.ID() == h.ID() }
	return dir.ProveKey(ctx, user, password)
}

// credentials reads the message of PLAIN (RFC 4616): [authzid] NUL authcid NUL passwd.
func credentials(initial []byte) (user, password string, err error) {
	parts := strings.Split(string(initial), "\x00")
	if len(parts) != 3 || parts[1] == "" || parts[2] == "" || parts[0] != "" && parts[0] != parts[1] {
		return "", "", fault.New("amqpnode.credentials", fault.Unauthenticated, "the user and password of SASL PLAIN cannot be read").
			Advise("send them as NUL user NUL password")
	}
	return parts[1], parts[2], nil
}

// Open implements engine.Acceptor.
func (a *arrival) Open(_ context.Context, c *engine.Conn) (engine.Handler, error) {
	host := c.PeerOpen().Hostname
	h, limited, err := a.find(host)
	if err != nil {
		return nil, a.refuse(host, err)
	}
	if a.proved != nil && !a.proved(h) {
		return nil, a.refuse(host, fault.Newf("amqpnode.Open", fault.Denied, "what the peer proved with SASL is not for %s", h.HostName()).
			Advise("say the same host name in SASL and in open"))
	}
	var handler engine.Handler
	if limited {
		a.guest, err = a.converse(c, h)
		handler = a.guest
	} else {
		handler, err = a.door(c, h)
	}
	if err != nil {
		return nil, a.refuse(host, err)
	}
	a.peer, a.handler, a.host, a.hub = c, handler, h.HostName(), h.ID()
	r := a.router
	r.mu.Lock()
	r.open[a] = struct{}{}
	r.mu.Unlock()
	// Only now, so that a plan which arrives in between either finds the connection or is seen here.
	if _, err := a.may(); err != nil {
		handler.Ended(err)
		return nil, a.refuse(host, err)
	}
	return handler, nil
}

// may returns the service, if the peer may speak to it now in the way it does.
func (a *arrival) may() (*hub.Hub, error) {
	server := a.router.server
	if a.guest == nil {
		return server.Enter(a.conn.Side, a.host)
	}
	h, _, err := server.EnterTrusted(a.conn.Side, a.host)
	if err == nil {
		err = a.guest.may()
	}
	return h, err
}

func (a *arrival) door(c *engine.Conn, h *hub.Hub) (engine.Handler, error) {
	doors := a.router.doors
	switch {
	case h.Provisioning():
		return doors.Provisioning.Converse(c, a.conn, a.conn.Certificates), nil
	case h.Namespace():
		dir, err := a.directory(h)
		if err != nil {
			return nil, err
		}
		v := doors.EventHubs.Converse(c, dir, a.conn.Refuse)
		if claim, ok := c.Who().(eventhub.Claim); ok {
			v.Trust(claim)
		}
		return v, nil
	}
	if h.Type() != resource.TypeIoTHub {
		return nil, fault.Newf("amqpnode.Open", fault.NotFound, "%s does not speak AMQP", h.HostName())
	}
	return doors.Hubs.Converse(c, a.conn, h), nil
}

// find returns the service a peer means, if it may speak to it from its side. limited says that it is a guest there.
func (a *arrival) find(host string) (h *hub.Hub, limited bool, err error) {
	server := a.router.server
	if host == "" {
		host = a.conn.Side.ServerName
	}
	if a.plain {
		if h, ok := server.ByHost(host); !ok || !h.Namespace() {
			if only := a.onlyNamespace(); only != nil {
				host = only.HostName()
			}
		}
	}
	if _, ok := server.ByHost(host); !ok && a.conn.Side.ServerName != "" { // it speaks through something that has another name
		host = a.conn.Side.ServerName
	}
	h, limited, err = server.EnterTrusted(a.conn.Side, host)
	if limited && h.Type() != resource.TypeIoTHub && !h.Namespace() {
		return nil, false, fault.Newf("amqpnode.find", fault.NotFound, "%s does not speak AMQP", h.HostName())
	}
	return h, limited, err
}

func (a *arrival) onlyNamespace() *hub.Hub {
	var only *hub.Hub
	for _, h := range a.router.server.Hubs() {
		if h.Namespace() {
			if only != nil {
				return nil
			}
			only = h
		}
	}
	return only
}

// directory returns the event hubs that a service's host name leads to.
func (a *arrival) directory(h *hub.Hub) (eventhub.Directory, error) {
	if h.Storage() {
		return nil, fault.Newf("amqpnode.directory", fault.NotFound, "%s does not speak AMQP", h.HostName())
	}
	if !h.Namespace() {
		return a.router.doors.Builtin(h), nil
	}
	if dir, ok := a.router.doors.Namespace(h); ok {
		return dir, nil
	}
	return nil, fault.Newf("amqpnode.directory", fault.Unavailable, "%s is not served yet", h.HostName()).Advise("try again in a moment")
}

// refuse notes that the peer was turned away, and returns why.
func (a *arrival) refuse(who string, err error) error {
	if err != nil {
		a.conn.Refuse(who, err)
	}
	return err
}
