package workload_test

import (
	"crypto/x509"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/workload"
)

const domain = "isthmus.test"

var start = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

func authority(t testing.TB) *identity.Authority {
	t.Helper()
	a, _, err := identity.NewAuthority(domain, start)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func credentials(t testing.TB, a *identity.Authority, id identity.ID, now time.Time) *identity.Credentials {
	t.Helper()
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		t.Fatal(err)
	}
	csr, err := identity.NewRequest(key, id)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := a.IssueIdentity(csr, id, now, 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	c, err := identity.NewCredentials(cert, keyPEM, a.CertificatePEM())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pool(a *identity.Authority) *x509.CertPool {
	p := x509.NewCertPool()
	p.AddCert(a.Certificate())
	return p
}

var (
	agent  = identity.AgentID(domain, "ot", "ot-cloud", "b1")
	bridge = string(identity.BridgeID(domain, "ot", "ot-cloud", "telemetry"))
)

func TestTokensProveWorkloads(t *testing.T) {
	clk, a := clock.NewFake(start), authority(t)
	creds := credentials(t, a, agent, start)
	m := workload.NewMinter(creds, clk)
	v := workload.NewVerifier(creds.Roots, nil, clk)
	for _, who := range []string{bridge, string(agent)} {
		for _, audience := range []string{workload.AudienceEventHubs, "https://eventhubs.azure.net", "https://lake.example/", "sb://Lake.Example", "lake.example"} {
			token, expires, err := m.Token(t.Context(), who, audience)
			if err != nil || !expires.Equal(start.Add(workload.Lifetime)) {
				t.Fatal(expires, err)
			}
			if !workload.Is(token) || len(token) > 2500 {
				t.Errorf("%d bytes: %s", len(token), token)
			}
			for range 2 {
				p, err := v.Verify(token, workload.AudienceEventHubs, "lake.example")
				if want := (workload.Proof{Workload: who, Agent: string(agent), Expires: expires.Add(workload.Skew)}); err != nil || p != want {
					t.Errorf("%s for %s: %+v, %v", who, audience, p, err)
				}
			}
			if again, _, _ := m.Token(t.Context(), who, audience); again != token {
				t.Error("another one was made at once")
			}
		}
	}
	if _, _, err := m.Token(t.Context(), strings.Replace(bridge, "ot-cloud", "plant-7", 1), "x"); err == nil {
		t.Error("a bridge of another network")
	}
}
