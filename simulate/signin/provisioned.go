package signin

import (
	"context"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/simulate/connection"
	"github.com/isthmus-io/isthmus/simulate/provision"
	"github.com/isthmus-io/isthmus/simulate/settings"
)

// registering is how many devices wait for their registrations at once.
const registering = 64

// provisioned lets a provisioning service say which hub is each device's own, once, before the first connection.
type provisioned struct {
	settings *settings.Settings
	client   *provision.Client
	certs    *certificates // nil with a group key
	clock    clock.Clock
	places   map[string]provision.Place // written by Prepare only
}

func newProvisioned(s *settings.Settings, clk clock.Clock) *provisioned {
	p := &provisioned{settings: s, clock: clk, places: map[string]provision.Place{}, client: provision.New(provision.Config{
		Scope: s.IDScope, Host: s.ProvisioningHost, Address: s.ProvisioningAddress, Roots: s.Roots,
	}, clk)}
	if s.SignIn == settings.Certificate {
		p.certs = newCertificates(s)
	}
	return p
}

// Prepare registers every device.
func (p *provisioned) Prepare(ctx context.Context) error {
	defer p.client.Close()
	if p.certs != nil {
		if err := p.certs.Prepare(ctx); err != nil {
			return err
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(registering)
	found := make([]provision.Place, len(p.settings.Devices))
	for i, id := range p.settings.Devices {
		g.Go(func() (err error) {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			found[i], err = p.register(ctx, id)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	for i, id := range p.settings.Devices {
		p.places[id] = found[i]
		if own := p.settings.Connection.HostName; p.settings.Verify && found[i].Hub != own {
			return fault.Newf("signin.Prepare", fault.Invalid, "Verify: device %s belongs to %s, and events are read from %s", id, found[i].Hub, own).
				Advise("leave --verify away, or have all devices assigned to one hub")
		}
	}
	return nil
}

func (p *provisioned) register(ctx context.Context, id string) (provision.Place, error) {
	proof := provision.Proof{ID: id}
	var err error
	if p.certs != nil {
		proof.Certificate, err = p.certs.of(id)
	} else {
		proof.Key, err = Derive(p.settings.GroupKey, id)
	}
	if err != nil {
		return provision.Place{}, err
	}
	return p.client.Register(ctx, proof)
}

// Hello implements [Method].
func (p *provisioned) Hello(device string) (connection.Hello, time.Time, error) {
	at, ok := p.places[device]
	if !ok {
		return connection.Hello{}, time.Time{}, fault.Newf("signin.Hello", fault.Internal, "device %s was not registered", device)
	}
	hello := connection.Hello{Host: at.Hub, Device: at.Device, KeepAlive: uint16(p.settings.KeepAlive / time.Second)}
	var err error
	if p.certs != nil {
		hello.Certificate, err = p.certs.of(device)
		return hello, time.Time{}, err
	}
	key, err := Derive(p.settings.GroupKey, device)
	if err != nil {
		return connection.Hello{}, time.Time{}, err
	}
	ends := p.clock.Now().Add(p.settings.TokenLife)
	hello.Token, err = sas.Sign(at.Hub+"/devices/"+at.Device, key, "", ends)
	return hello, ends, err
}
