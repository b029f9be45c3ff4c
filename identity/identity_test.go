package identity_test

import (
	"context"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

func credentials(t *testing.T, a *identity.Authority, id identity.ID, now time.Time) *identity.Credentials {
	t.Helper()
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := identity.NewRequest(key, id)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.IssueIdentity(csr, id, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c, err := identity.NewCredentials(cert, keyPEM, a.CertificatePEM())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func shake(client, server *tls.Config) (serverErr, clientErr error) {
	a, b := net.Pipe()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	done := make(chan error, 1)
	go func() {
		s := tls.Server(b, server)
		err := s.HandshakeContext(ctx)
		if err == nil {
			_, err = s.Write([]byte{1})
		}
		b.Close()
		done <- err
	}()
	c := tls.Client(a, client)
	clientErr = c.HandshakeContext(ctx)
	if clientErr == nil {
		_, clientErr = io.ReadFull(c, make([]byte, 1))
	}
	a.Close()
	return <-done, clientErr
}

func TestHandshakes(t *testing.T) {
	now := time.Now()
	ours, _, err := identity.NewAuthority("isthmus.test", now)
	if err != nil {
		t.Fatal(err)
	}
	theirs, _, err := identity.NewAuthority("isthmus.test", now)
	if err != nil {
		t.Fatal(err)
	}
	gw := identity.AgentID("isthmus.test", "ot", "plant-7", "gw")
	cloud := identity.AgentID("isthmus.test", "ot", "ot-cloud", "c1")
	relay := identity.RelayID("isthmus.test", "r1")
	good, peer := credentials(t, ours, gw, now), credentials(t, ours, cloud, now)
	for _, c := range []struct {
		name           string
		client, server *tls.Config
		wantServer     string // part of the error; empty: must work
		wantClient     string
	}{
		{"both known", good.ClientTLS(identity.Only(cloud), "x"), peer.ServerTLS(identity.AnyAgent("isthmus.test"), "x"), "", ""},
		{"wrong server", good.ClientTLS(identity.Only(relay), "x"), peer.ServerTLS(identity.AnyAgent("isthmus.test"), "x"), "any", "not " + string(relay)},
		{"client is no agent", credentials(t, ours, relay, now).ClientTLS(identity.Only(cloud), "x"), peer.ServerTLS(identity.AnyAgent("isthmus.test"), "x"), "no agent", "any"},
		{"client of another authority", credentials(t, theirs, gw, now).ClientTLS(identity.Only(cloud), "x"), peer.ServerTLS(identity.AnyAgent("isthmus.test"), "x"), "any", "not issued by this deployment"},
		{"lapsed", good.ClientTLS(identity.Only(cloud), "x"), credentials(t, ours, cloud, now.Add(-2*time.Hour)).ServerTLS(identity.AnyAgent("isthmus.test"), "x"), "any", "lapsed"},
		{"not yet", good.ClientTLS(identity.Only(cloud), "x"), credentials(t, ours, cloud, now.Add(time.Hour)).ServerTLS(identity.AnyAgent("isthmus.test"), "x"), "any", "compare the clocks"},
		{"a clock five minutes behind", good.ClientTLS(identity.Only(cloud), "x"), credentials(t, ours, cloud, now.Add(5*time.Minute)).ServerTLS(identity.AnyAgent("isthmus.test"), "x"), "", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			serverErr, clientErr := shake(c.client, c.server)
			for _, e := range []struct {
				side, want string
				err        error
			}{{"server", c.wantServer, serverErr}, {"client", c.wantClient, clientErr}} {
				switch {
				case e.want == "" && e.err != nil:
					t.Errorf("%s: %v", e.side, e.err)
				case e.want != "" && e.err == nil:
					t.Errorf("%s: no error", e.side)
				case e.want != "" && e.want != "any" && !strings.Contains(e.err.Error(), e.want):
					t.Errorf("%s: %v, want %q in it", e.side, e.err, e.want)
				}
			}
		})
	}
}

func TestReplaceIsSeenByOldConfigurations(t *testing.T) {
	now := time.Now()
	a, _, err := identity.NewAuthority("isthmus.test", now)
	if err != nil {
		t.Fatal(err)
	}
	gw, cloud := identity.AgentID("isthmus.test", "ot", "plant-7", "gw"), identity.AgentID("isthmus.test", "ot", "ot-cloud", "c1")
	server := credentials(t, a, cloud, now.Add(-2*time.Hour))
	sc := server.ServerTLS(identity.AnyAgent("isthmus.test"), "x")
	cc := credentials(t, a, gw, now).ClientTLS(identity.Only(cloud), "x")
	if _, err := shake(cc, sc); err == nil {
		t.Fatal("a lapsed certificate was accepted")
	}
	key, keyPEM, _ := identity.NewKey()
	csr, _ := identity.NewRequest(key, cloud)
	cert, err := a.IssueIdentity(csr, cloud, now, time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	if err := server.Replace(cert, keyPEM, a.CertificatePEM()); err != nil {
		t.Fatal(err)
	}
	if _, err := shake(cc, sc); err != nil {
		t.Errorf("after renewal: %v", err)
	}
	if err := server.Replace(cert, []byte("no key"), a.CertificatePEM()); fault.KindOf(err) != fault.Invalid {
		t.Errorf("a broken key: %v", err)
	}
	if server.ID() != cloud {
		t.Error("a refused replacement changed the credentials")
	}
}

func TestAgentID(t *testing.T) {
	id := identity.AgentID("isthmus.test", "ot", "plant-7", "gw")
	if a, ok := id.Agent(); !ok || a != (identity.Agent{TrustDomain: "isthmus.test", Tenant: "ot", Network: "plant-7", Name: "gw"}) {
		t.Errorf("%s: %+v %v", id, a, ok)
	}
	for _, bad := range []identity.ID{"", "spiffe://x/relay/r", "https://x/tenant/a/network/b/agent/c", "spiffe://x/tenant/a/network/b/agent/c/d"} {
		if _, ok := bad.Agent(); ok {
			t.Errorf("%q passes as an agent", bad)
		}
	}
	if !strings.HasPrefix(string(id), identity.NetworkPrefix("isthmus.test", "ot", "plant-7")) ||
		strings.HasPrefix(string(identity.AgentID("isthmus.test", "ot", "plant-77", "gw")), identity.NetworkPrefix("isthmus.test", "ot", "plant-7")) {
		t.Error("a network's prefix must fit its own agents only")
	}
}
