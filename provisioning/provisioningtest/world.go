package provisioningtest

import (
	"bytes"
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/provisioning"
)

// Host is the public name of the service in every world, and HubA and HubB those of its hubs.
const (
	Host = "contoso.azure-devices-provisioning.net"
	HubA = "a.azure-devices.net"
	HubB = "b.azure-devices.net"
)

// Options change what a world is made of.
type Options struct {
	Clock  clock.Clock // instead of the system's
	Dir    string      // instead of a directory of its own
	Host   string      // instead of Host
	Hubs   *Hubs       // instead of HubA and HubB
	Change func(*provisioning.Config)
}

// World is a process with one provisioning service.
type World struct {
	Server  *provisioning.Server
	Service *provisioning.Service
	Hubs    *Hubs
	Dir     string
	Clock   clock.Clock
	Log     *bytes.Buffer // at its most talkative; read it after Stop
	Stop    func()        // ends the process; called at the end of the test too

	t testing.TB
}

// Start runs a world until the test ends.
func Start(t testing.TB, o Options) *World {
	t.Helper()
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Host == "" {
		o.Host = Host
	}
	if o.Hubs == nil {
		o.Hubs = NewHubs(HubA, HubB)
	}
	w := &World{Hubs: o.Hubs, Dir: o.Dir, Clock: o.Clock, Log: &bytes.Buffer{}, t: t}
	log := slog.New(slog.NewJSONHandler(w.Log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	cfg := provisioning.Config{Dir: o.Dir, Hubs: o.Hubs}
	if o.Change != nil {
		o.Change(&cfg)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	w.Server, err = provisioning.New(ctx, cfg, log, o.Clock, nil)
	w.must(err)
	w.must(w.Server.SetServices(ctx, []provisioning.Spec{{ID: "uid-dps", Name: "ot/ot-cloud/dps", HostNames: []string{o.Host}}}))
	w.Service, _ = w.Server.Service("uid-dps")
	ran := make(chan error, 1)
	go func() { ran <- w.Server.Run(ctx) }()
	w.Stop = sync.OnceFunc(func() {
		cancel()
		w.must(<-ran)
		w.must(w.Server.Close())
	})
	t.Cleanup(w.Stop)
	return w
}

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Put makes an individual enrollment from JSON.
func (w *World) Put(text string) provisioning.Enrollment {
	w.t.Helper()
	e, err := w.Service.PutEnrollment(context.Background(), "", []byte(text), false, "")
	w.must(err)
	return e
}

// PutGroup makes an enrollment group from JSON.
func (w *World) PutGroup(text string) provisioning.Enrollment {
	w.t.Helper()
	e, err := w.Service.PutEnrollment(context.Background(), "", []byte(text), true, "")
	w.must(err)
	return e
}

// Key returns the primary key of an individual enrollment.
func (w *World) Key(id string) string {
	w.t.Helper()
	a, err := w.Service.Mechanism(context.Background(), id, false)
	w.must(err)
	return a.SymmetricKey.Primary
}

// Token signs a device's token for an hour.
func (w *World) Token(id, key string) string {
	w.t.Helper()
	return w.Sign(w.Service.Scope()+"/registrations/"+id, key, "registration", time.Hour)
}

// Sign signs any token.
func (w *World) Sign(resource, key, policy string, life time.Duration) string {
	w.t.Helper()
	text, err := sas.Sign(resource, key, policy, w.Clock.Now().Add(life))
	w.must(err)
	return text
}

// ServiceToken signs a policy's token for an hour.
func (w *World) ServiceToken(policy string) string {
	w.t.Helper()
	text, err := w.Service.ConnectionString(policy)
	w.must(err)
	c, err := sas.ParseConnectionString(text)
	w.must(err)
	return w.Sign(c.HostName, c.Key, policy, time.Hour)
}

// Register registers a device and waits for the end of it.
func (w *World) Register(p provisioning.Proof, r provisioning.Registration) provisioning.Operation {
	w.t.Helper()
	o, err := w.Service.Register(context.Background(), p, r)
	w.must(err)
	return w.Await(p, o.ID)
}

// Await waits for the end of an operation.
func (w *World) Await(p provisioning.Proof, id string) provisioning.Operation {
	w.t.Helper()
	late := time.NewTimer(10 * time.Second)
	defer late.Stop()
	for {
		o, err := w.Service.Operation(context.Background(), p, id)
		w.must(err)
		if o.Done() {
			return o
		}
		again := time.NewTimer(time.Millisecond)
		select {
		case <-again.C:
		case <-late.C:
			w.t.Fatal("the registration does not end")
		}
	}
}
