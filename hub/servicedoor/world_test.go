package servicedoor_test

import (
	"context"
	"errors"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/blob"
	"github.com/isthmus-io/isthmus/hub/file"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/hub/servicedoor"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a hub with a device d and a module d/m, and an engine that gives every link to the door.
type world struct {
	*hubtest.World
	t      *testing.T
	clock  *clock.Fake
	hub    *hub.Hub
	files  *file.Service
	door   *servicedoor.Door
	engine *engine.Engine
	claims *claims

	mu      sync.Mutex // guards the field below
	refused []string
}

// claims are those of all connections.
type claims struct {
	mu    sync.Mutex // guards the field below
	claim *hub.ServiceClaim
}

func (c *claims) Service(path string) (hub.ServiceClaim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.claim == nil {
		return hub.ServiceClaim{}, fault.New("test", fault.Unauthenticated, "nothing was claimed")
	}
	return *c.claim, c.claim.May(hub.ServiceConnect, path)
}

func (c *claims) put(claim hub.ServiceClaim) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.claim = &claim
}

func start(t *testing.T, cfg servicedoor.Config) *world {
	t.Helper()
	w := &world{t: t, clock: clock.NewFake(time.Now()), claims: &claims{}}
	w.World = hubtest.Start(t, hubtest.Options{Clock: w.clock})
	w.hub = w.Hub(hubtest.Contoso)
	w.Device(hubtest.Contoso, "d")
	w.Module(hubtest.Contoso, "d", "m")
	var err error
	w.files, err = file.New(t.Context(), file.Config{Blobs: blob.Config{Dir: t.TempDir()}}, w.Server, hubtest.Silent(), w.clock, nil)
	must(t, err)
	t.Cleanup(func() { must(t, w.files.Close()) })
	cfg.Files = w.files
	w.door = servicedoor.New(cfg, hubtest.Silent(), w.clock)
	w.engine = engine.New(engine.Config{}, hubtest.Silent(), clock.System{}, nil)
	w.claims.put(w.prove(hub.PolicyService))
	return w
}

func (w *world) prove(policy string) hub.ServiceClaim {
	w.t.Helper()
	c, err := w.hub.ProveService(w.ServiceToken(hubtest.Contoso, policy))
	must(w.t, err)
	return c
}

// proveUntil is prove for a claim that ends so long after the time of the test's clock.
func (w *world) proveUntil(policy string, life time.Duration) hub.ServiceClaim {
	w.t.Helper()
	text, err := w.hub.PolicyConnectionString(policy)
	must(w.t, err)
	c, err := sas.ParseConnectionString(text)
	must(w.t, err)
	token, err := sas.Sign(hubtest.Contoso, c.Key, policy, w.clock.Now().Add(life))
	must(w.t, err)
	claim, err := w.hub.ProveService(token)
	must(w.t, err)
	return claim
}

// arrival gives every link that the door takes to it, as hub/amqpdoor does.
type arrival struct{ w *world }

func (arrival) Mechanisms() []amqp.Symbol                               { return nil }
func (arrival) Authenticate(context.Context, *engine.SASL) (any, error) { return nil, errors.New("no") }
func (a arrival) Open(_ context.Context, c *engine.Conn) (engine.Handler, error) {
	return handler{a.w.door.Converse(c, a.w.hub, a.w.claims, func(who string, _ error) {
		a.w.mu.Lock()
		defer a.w.mu.Unlock()
		a.w.refused = append(a.w.refused, who)
	})}, nil
}

type handler struct{ *servicedoor.Conversation }

func (h handler) Attach(l *engine.Link) {
	if !h.Takes(l) {
		l.Refuse(&amqp.Error{Condition: amqp.ConditionNotImplemented, Description: "not the door's"})
		return
	}
	h.Conversation.Attach(l)
}

func (w *world) context() context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	w.t.Cleanup(cancel)
	return ctx
}

// session connects a back end that calls the hub by a name.
func (w *world) session(host string) (*amqptest.Session, *amqptest.Client) {
	w.t.Helper()
	ours, theirs := net.Pipe()
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = w.engine.Serve(context.Background(), ours, arrival{w})
	}()
	c, err := amqptest.Connect(w.context(), theirs, amqptest.Options{Hostname: host})
	must(w.t, err)
	w.t.Cleanup(func() {
		c.Abort()
		<-served
	})
	s, err := c.Session(w.context())
	must(w.t, err)
	return s, c
}

func (w *world) sender() *amqptest.Sender {
	w.t.Helper()
	s, _ := w.session(hubtest.Contoso)
	out, err := s.Sender(w.context(), "/messages/devicebound", nil)
	must(w.t, err)
	return out
}

func (w *world) receiver(address string, credit uint32, edit func(*amqp.Attach)) *amqptest.Receiver {
	w.t.Helper()
	s, _ := w.session(hubtest.Contoso)
	out, err := s.Receiver(w.context(), address, credit, edit)
	must(w.t, err)
	return out
}

func (w *world) next(r *amqptest.Receiver) (*amqptest.Delivery, *amqp.Message) {
	w.t.Helper()
	d, err := r.Next(w.context())
	must(w.t, err)
	m, err := d.Decode()
	must(w.t, err)
	return d, m
}

// settings changes how the hub treats feedback.
func (w *world) settings(change func(*hub.CommandSettings)) {
	w.t.Helper()
	s := w.hub.CommandSettings()
	change(&s)
	must(w.t, w.hub.SetCommandSettings(w.t.Context(), s))
}

// feedback makes a record of feedback.
func (w *world) feedback(id string) {
	w.t.Helper()
	n := hub.Name{Device: "d"}
	_, err := w.hub.SendCommand(w.t.Context(), n, hub.Command{MessageID: id, Ack: hub.AckFull})
	must(w.t, err)
	c, err := w.hub.ReceiveCommand(w.t.Context(), n, 0)
	must(w.t, err)
	must(w.t, w.hub.CompleteCommand(w.t.Context(), n, c.Lock))
}

// upload lets the device send a file.
func (w *world) upload(name string) {
	w.t.Helper()
	ctx := w.t.Context()
	g, err := w.files.Begin(ctx, w.hub, "d", name, hubtest.Contoso)
	must(w.t, err)
	to := blob.Ref{Hub: w.hub.ID(), Container: file.Container, Name: g.Blob}
	_, err = w.files.Blobs().Put(ctx, blob.Upload{Hub: w.hub.ID(), ID: g.Correlation}, to, blob.Properties{}, 3, strings.NewReader("abc"))
	must(w.t, err)
	must(w.t, w.files.Done(ctx, w.hub, "d", g.Correlation, file.Outcome{Success: true, Status: 201}))
}
