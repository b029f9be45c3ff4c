package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"os"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// localServices runs a hub, a provisioning service and a namespace until the test ends. dial speaks TLS to it without naming anything.
func localServices(t *testing.T) (s LocalServices, dial func() net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := ln.Addr().String()
	if err := ln.Close(); err != nil {
		t.Fatal(err)
	}
	cfg := LocalHubConfig{
		HubConfig: HubConfig{DataDir: t.TempDir(), MQTT: []string{"127.0.0.1:0"}, HTTPS: []string{"127.0.0.1:0"}, AMQP: []string{address}},
		Hosts:     []string{"hub.localhost"}, ProvisioningHosts: []string{"dps.localhost"}, NamespaceHosts: []string{"events.localhost"},
		EventHubs: []resource.EventHub{{Name: "telemetry", Partitions: 2}},
	}
	cfg.Log.FS = vfs.NewMem()
	ready, ended := make(chan LocalServices, 1), make(chan error, 1)
	cfg.Ready = func(s LocalServices) { ready <- s }
	ctx, stop := context.WithCancel(context.Background())
	go func() { ended <- LocalHub(ctx, cfg, hubtest.Silent(), clock.System{}, nil) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	select {
	case s = <-ready:
	case err := <-ended:
		ended <- nil
		t.Fatal(err)
	}
	ca, err := os.ReadFile(s.AuthorityFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(ca)
	return s, func() net.Conn {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		verify := func(state tls.ConnectionState) error {
			_, err := state.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots})
			return err
		}
		return tls.Client(conn, &tls.Config{MinVersion: tls.VersionTLS13, InsecureSkipVerify: true, VerifyConnection: verify})
	}
}

// TestAPasswordIsGoodForItsServiceAlone: what SASL PLAIN proved to one service opens nothing at another of the same process, whichever name
// the peer says in its open.
func TestAPasswordIsGoodForItsServiceAlone(t *testing.T) {
	s, dial := localServices(t)
	root, _, err := s.Namespace.Keys("", "RootManageSharedAccessKey")
	if err != nil {
		t.Fatal(err)
	}
	text, err := s.Hub.PolicyConnectionString(hub.PolicyService)
	if err != nil {
		t.Fatal(err)
	}
	service, err := sas.ParseConnectionString(text)
	if err != nil {
		t.Fatal(err)
	}
	inHub, inNamespace := builtin.EntityName(s.Hub)+"/ConsumerGroups/$Default/Partitions/0", "telemetry/ConsumerGroups/$Default/Partitions/0"
	for name, x := range map[string]struct {
		user, password, said, open, address string
		good                                bool
	}{
		"the namespace's key at the namespace": {"RootManageSharedAccessKey", root, "events.localhost", "events.localhost", inNamespace, true},
		"the namespace's key at the hub":       {"RootManageSharedAccessKey", root, "events.localhost", "hub.localhost", inHub, false},
		"the namespace's key at provisioning":  {"RootManageSharedAccessKey", root, "events.localhost", "dps.localhost", "x/registrations/y", false},
		"the hub's key at the hub":             {hub.PolicyService, service.Key, "hub.localhost", "hub.localhost", inHub, true},
		"the hub's key at the namespace":       {hub.PolicyService, service.Key, "hub.localhost", "events.localhost", inNamespace, false},
	} {
		t.Run(name, func(t *testing.T) {
			conn := dial()
			defer conn.Close()
			plain := amqptest.Plain(x.user, x.password)
			plain.Hostname = x.said
			c, err := amqptest.Dial(t.Context(), conn, amqptest.Options{SASL: plain, Hostname: x.open})
			if err != nil {
				t.Fatal(err)
			}
			if !x.good {
				end, _, err := amqptest.Expect[*amqp.Close](t.Context(), c)
				if err != nil || end.Error == nil || end.Error.Condition != amqp.ConditionUnauthorizedAccess {
					t.Errorf("%v, %v", end, err)
				}
				return
			}
			if _, err := c.Begin(t.Context(), 0); err != nil {
				t.Fatal(err)
			}
			if a, err := c.Attach(t.Context(), 0, amqptest.ReceiverFrom("r", 0, x.address)); err != nil || a.Source == nil {
				t.Errorf("%v, %v", a, err)
			}
		})
	}
}
