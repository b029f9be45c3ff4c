package workloadtest

import (
	"crypto"
	"crypto/x509"
	"encoding/pem"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/workload"
)

// Domain is the trust domain of every deployment.
const Domain = "isthmus.test"

// Agent carries Bridge in the plant's tenant; Other is an agent of the same network, and Stranger one of another tenant.
var (
	Agent    = identity.AgentID(Domain, "ot", "ot-cloud", "b1")
	Other    = identity.AgentID(Domain, "ot", "ot-cloud", "b2")
	Stranger = identity.AgentID(Domain, "it", "it-cloud", "c1")
	Bridge   = identity.BridgeID(Domain, "ot", "ot-cloud", "telemetry")
)

// Deployment has an authority.
type Deployment struct {
	Authority *identity.Authority
	Key       crypto.Signer // the authority's, for certificates that it would not issue
	Verifier  *workload.Verifier

	t       testing.TB
	clock   clock.Clock
	roots   atomic.Pointer[x509.CertPool]
	revoked atomic.Pointer[[]string]
}

// New returns a deployment that was made just now.
func New(t testing.TB, clk clock.Clock) *Deployment {
	t.Helper()
	d := &Deployment{t: t, clock: clk}
	var err error
	var keyPEM []byte
	d.Authority, keyPEM, err = identity.NewAuthority(Domain, clk.Now())
	d.must(err)
	block, _ := pem.Decode(keyPEM)
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	d.must(err)
	d.Key = key.(crypto.Signer)
	d.Trust(d.Authority)
	d.Revoke()
	d.Verifier = workload.NewVerifier(d.roots.Load, func() []string { return *d.revoked.Load() }, clk)
	return d
}

func (d *Deployment) must(err error) {
	d.t.Helper()
	if err != nil {
		d.t.Fatal(err)
	}
}

// Trust makes these the authorities that the verifier believes.
func (d *Deployment) Trust(list ...*identity.Authority) {
	pool := x509.NewCertPool()
	for _, a := range list {
		pool.AddCert(a.Certificate())
	}
	d.roots.Store(pool)
}

// Revoke makes these the agents that are no more.
func (d *Deployment) Revoke(agents ...string) { d.revoked.Store(&agents) }

// Credentials makes a key and a certificate for a day.
func (d *Deployment) Credentials(id identity.ID) *identity.Credentials {
	d.t.Helper()
	key, keyPEM, err := identity.NewKey()
	d.must(err)
	csr, err := identity.NewRequest(key, id)
	d.must(err)
	cert, err := d.Authority.IssueIdentity(csr, id, d.clock.Now(), 24*time.Hour)
	d.must(err)
	c, err := identity.NewCredentials(cert, keyPEM, d.Authority.CertificatePEM())
	d.must(err)
	return c
}

// Token is one by which an agent, with a certificate of its own, proves a workload.
func (d *Deployment) Token(agent, of identity.ID, audience string) string {
	d.t.Helper()
	text, _, err := workload.NewMinter(d.Credentials(agent), d.clock).Token(d.t.Context(), string(of), audience)
	d.must(err)
	return text
}

// Assign gives Bridge, carried by Agent, a role; for the whole service without a scope.
func Assign(role resource.DataRole, scope string) plan.Assignment {
	return plan.Assignment{Workload: string(Bridge), Holders: []string{string(Agent)}, Role: role, Scope: scope}
}
