package node

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/keepfile"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/provisioning"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/storage"
	"github.com/isthmus-io/isthmus/workload"
)

// LocalHubConfig is a hub, and a provisioning service beside it, for one machine: without a deployment to belong to.
type LocalHubConfig struct {
	HubConfig
	Hosts             []string            // the hub's names; the first one goes into connection strings
	ProvisioningHosts []string            // those of the provisioning service; none when empty
	NamespaceHosts    []string            // those of the namespace of event hubs; none when empty
	EventHubs         []resource.EventHub // it has at least
	StorageHosts      []string            // those of the blob service; none when empty
	Containers        []string            // it has at least
	// PlainAMQP are addresses, host:port, at which the namespace speaks AMQP without TLS, as clients want it that are told to use an emulator. They
	// must be this machine's own.
	PlainAMQP []string
	// TestToken stands for every right in the namespace, whatever it says: for tests of clients that cannot be given another token.
	TestToken string
	// Identities are those that open the namespace beside its keys, or instead of them: for tests of clients that use identities.
	Identities LocalIdentities
	// Ready is called once the doors are open and the hub serves.
	Ready func(LocalServices)
}

// LocalIdentities are workloads of a deployment that a local hub process does not belong to.
type LocalIdentities struct {
	Verifier    *workload.Verifier // nil: no workload counts
	Assignments []plan.Assignment
	KeysOff     bool
}

// LocalServices is what a local hub process serves.
type LocalServices struct {
	Hub           *hub.Hub
	Provisioning  *provisioning.Service // nil when there is none
	Namespace     *eventhub.Namespace   // nil when there is none
	Storage       *storage.Account      // nil when there is none
	AuthorityFile string                // with the certificate that clients have to trust
}

// The names of what a local hub process serves. They are made up: nobody gave them.
const (
	localHubID          = "local-hub"
	localProvisioningID = "local-provisioning"
	localNamespaceID    = "local-event-hubs"
	localStorageID      = "local-storage"
)

// authorityName is the file with the certificate that clients of a local hub have to trust.
const authorityName = "ca.pem"

// LocalHub runs a hub process that belongs to no deployment, for a developer's machine and for CI. It makes an authority of its own, which it
// keeps in its data directory with everything else.
func LocalHub(ctx context.Context, cfg LocalHubConfig, log *slog.Logger, clk clock.Clock, reg prometheus.Registerer) error {
	authority, err := localAuthority(cfg.DataDir, clk.Now())
	if err != nil {
		return err
	}
	certs := &localCertificates{authority: authority, clock: clk, hosts: slices.Concat(cfg.Hosts, cfg.ProvisioningHosts, cfg.NamespaceHosts, cfg.StorageHosts)}
	if who := cfg.Identities; who.Verifier != nil {
		cfg.workloads = &workloads{Verifier: who.Verifier}
	}
	cfg.aliases, cfg.testToken, cfg.amqpPlain = loopbackNames(), cfg.TestToken, cfg.PlainAMQP
	h, err := openHub(ctx, cfg.HubConfig, certs.find, log, clk, reg)
	defer h.close()
	if err != nil {
		return err
	}
	hubs := []plan.Hub{{ID: localHubID, Name: "local/local/hub", HostNames: cfg.Hosts, Public: resource.PublicEnabled, DeviceStreams: resource.StreamsByKey}}
	if len(cfg.ProvisioningHosts) > 0 {
		hubs = append(hubs, plan.Hub{
			ID: localProvisioningID, Name: "local/local/provisioning", HostNames: cfg.ProvisioningHosts, Type: resource.TypeDPS, Public: resource.PublicEnabled,
		})
	}
	if len(cfg.NamespaceHosts) > 0 {
		hubs = append(hubs, plan.Hub{
			ID: localNamespaceID, Name: "local/local/event-hubs", HostNames: cfg.NamespaceHosts, Type: resource.TypeEventHubs, Public: resource.PublicEnabled,
			EventHubs: cfg.EventHubs, Assignments: cfg.Identities.Assignments, KeysOff: cfg.Identities.KeysOff,
		})
	}
	if len(cfg.StorageHosts) > 0 {
		hubs = append(hubs, plan.Hub{
			ID: localStorageID, Name: "local/local/storage", HostNames: cfg.StorageHosts, Type: resource.TypeBlob, Public: resource.PublicEnabled, Containers: cfg.Containers,
		})
	}
	h.cfg.Ready = func(s *hub.Server) {
		local, ok := s.ByName(localHubID)
		if !ok || cfg.Ready == nil {
			return
		}
		p, _ := h.prov.server.Service(localProvisioningID)
		n, _ := h.spaces.server.Namespace(localNamespaceID)
		blobs, _ := h.accounts.server.Account(localStorageID)
		cfg.Ready(LocalServices{local, p, n, blobs, filepath.Join(cfg.DataDir, authorityName)})
	}
	return h.run(ctx, func(ctx context.Context) error { return h.carryOut(ctx, hubs) })
}

// loopbackNames are those under which clients that were told to use an emulator call what they dial.
func loopbackNames() []string { return []string{"localhost", "127.0.0.1", "::1"} }

// localAuthority reads the authority of a data directory, or makes it.
func localAuthority(dir string, now time.Time) (*identity.Authority, error) {
	op := "node.LocalHub"
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the data directory "+dir+" cannot be made")
	}
	certFile, keyFile := filepath.Join(dir, authorityName), filepath.Join(dir, "ca.key")
	cert, cerr := os.ReadFile(certFile)
	key, kerr := os.ReadFile(keyFile)
	if cerr == nil && kerr == nil {
		return identity.LoadAuthority(cert, key)
	}
	if err := errors.Join(cerr, kerr); !errors.Is(err, fs.ErrNotExist) {
		return nil, fault.Wrap(op, fault.Invalid, err, "the authority in "+dir+" cannot be read")
	}
	a, key, err := identity.NewAuthority("local", now)
	if err != nil {
		return nil, err
	}
	if err := keepfile.Write(keyFile, key); err != nil {
		return nil, fault.Wrap(op, fault.Invalid, err, "the authority cannot be kept in "+dir)
	}
	if err = keepfile.Write(certFile, a.CertificatePEM()); err == nil {
		err = os.Chmod(certFile, 0o644) //nolint:gosec // it is no secret, and who runs the devices may be somebody else
	}
	return a, fault.Wrap(op, fault.Invalid, err, "the authority cannot be kept in "+dir)
}

// localLife is how long a certificate of a local hub is good; half of it before its end there is another.
const localLife = 30 * 24 * time.Hour

// localCertificates makes one certificate for all names, and a new one in time.
type localCertificates struct {
	authority *identity.Authority
	clock     clock.Clock
	hosts     []string

	mu      sync.Mutex // guards the field below
	current *tls.Certificate
}

func (c *localCertificates) find(string) (*tls.Certificate, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock.Now()
	if c.current != nil && now.After(c.current.Leaf.NotBefore) && c.current.Leaf.NotAfter.Sub(now) > localLife/2 {
		return c.current, nil
	}
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	request, err := identity.NewRequest(key, "", c.hosts...)
	if err != nil {
		return nil, err
	}
	certPEM, err := c.authority.IssueServer(request, now, localLife, c.hosts...)
	if err != nil {
		return nil, err
	}
	cert, err := tls.X509KeyPair(append(certPEM, c.authority.CertificatePEM()...), keyPEM)
	if err == nil && cert.Leaf == nil {
		cert.Leaf, err = x509.ParseCertificate(cert.Certificate[0])
	}
	if err != nil {
		return nil, fault.Wrap("node.LocalHub", fault.Internal, err, "")
	}
	c.current = &cert
	return c.current, nil
}
