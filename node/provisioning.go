package node

import (
	"context"
	"crypto/x509"
	"log/slog"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/front"
	hubhttp "github.com/isthmus-io/isthmus/hub/httpdoor"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/provisioning/httpdoor"
	"github.com/isthmus-io/isthmus/provisioning/linkedhub"
	"github.com/isthmus-io/isthmus/provisioning/localhub"
	"github.com/isthmus-io/isthmus/provisioning/mqttdoor"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// provisioners are the provisioning services of a hub process: they share the hubs' doors, sides and certificates.
type provisioners struct {
	server *provisioning.Server
	hubs   *hub.Server
	local  http.Handler // of the local socket
	far    http.Handler
	mqtt   *mqttdoor.Door
}

func newProvisioners(ctx context.Context, cfg HubConfig, hubs *hub.Server, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) (*provisioners, error) {
	server, err := provisioning.New(ctx, provisioning.Config{Dir: cfg.DataDir, Database: cfg.Database, Hubs: localhub.New(hubs), Dial: linkedhub.Dial(nil, clk)}, log, clk, reg)
	if err != nil {
		return nil, err
	}
	p := &provisioners{server: server, hubs: hubs}
	p.local = httpdoor.New(httpdoor.Config{Service: httpdoor.Named(server), Local: true}, server, log, clk)
	p.far = httpdoor.New(httpdoor.Config{
		Service: func(r *http.Request) (*provisioning.Service, error) {
			return p.named(hubhttp.ArrivalOf(r.Context()).Hub)
		},
		Admit: func(r *http.Request, s *provisioning.Service) error {
			return p.admit(hubhttp.ArrivalOf(r.Context()).Conn, s)
		},
		Certificates: func(r *http.Request) []*x509.Certificate {
			return hubhttp.ArrivalOf(r.Context()).Conn.Certificates
		},
		Refused: func(r *http.Request, who string, err error) { hubhttp.ArrivalOf(r.Context()).Conn.Refuse(who, err) },
	}, server, log, clk)
	p.mqtt = mqttdoor.New(mqttdoor.Config{
		Admit: func(c mqttdoor.Conn, s *provisioning.Service) error { return p.admit(c.(*front.Conn), s) },
	}, server, log, clk)
	return p, nil
}

// named returns the service that a host name stands for.
func (p *provisioners) named(h *hub.Hub) (*provisioning.Service, error) {
	if s, ok := p.server.Service(h.ID()); ok {
		return s, nil
	}
	return nil, fault.Newf("node.provisioning", fault.Unavailable, "%s is not served yet", h.HostName()).Advise("try again in a moment")
}

// admit refuses a peer whose side does not lead to the service: devices name it by its id scope, whatever host they dial.
func (p *provisioners) admit(c *front.Conn, s *provisioning.Service) error {
	_, err := p.hubs.Enter(c.Side, s.HostName())
	return err
}

// ServeHTTP answers what the hubs' door was asked for a provisioning service.
func (p *provisioners) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if hubhttp.ArrivalOf(r.Context()).Conn == nil {
		p.local.ServeHTTP(w, r)
		return
	}
	p.far.ServeHTTP(w, r)
}

// serveMQTT takes a device whose CONNECT names a registration.
func (p *provisioners) serveMQTT(ctx context.Context, c *front.Conn, r *mqtt.Reader, connect *mqtt.Connect) {
	p.mqtt.Serve(ctx, c, c.Certificates, r, connect)
}

// carryOut makes the server serve the services of a plan.
func (p *provisioners) carryOut(ctx context.Context, hubs []plan.Hub) error {
	var out []provisioning.Spec
	for _, h := range hubs {
		if h.Type == resource.TypeDPS {
			out = append(out, provisioning.Spec{ID: h.ID, Name: h.Name, HostNames: h.HostNames, KeysOff: h.KeysOff})
		}
	}
	return p.server.SetServices(ctx, out)
}
