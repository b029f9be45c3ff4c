package membership

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"slices"
	"strings"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

// servingKept is a serving certificate as it lies on disk.
type servingKept struct {
	Hosts       []string `json:"hosts"`
	Key         string   `json:"key"`         // PKCS #8 PEM
	Certificate string   `json:"certificate"` // PEM
}

// serving is a certificate for public names, replaced in place when it is renewed.
type serving struct {
	hosts   []string // sorted, lower case
	current atomic.Pointer[tls.Certificate]
}

func (s *serving) what() string            { return "serving certificate of " + strings.Join(s.hosts, ", ") }
func (s *serving) leaf() *x509.Certificate { return s.current.Load().Leaf }

// file tells the sets of names apart: another set is another certificate.
func (s *serving) file() string {
	sum := sha256.Sum256([]byte(strings.Join(s.hosts, "\n")))
	return "serving-" + hex.EncodeToString(sum[:8]) + ".json"
}

// ServingCertificate returns what a tls.Config.GetCertificate needs to answer as the hosts, which the member must be allowed to
// serve. A certificate on disk that is still good is used without asking anybody; else the control plane is asked, while ctx
// lives. Run renews it, and what was returned shows the new one by itself.
func (m *Member) ServingCertificate(ctx context.Context, hosts []string) (func(*tls.ClientHelloInfo) (*tls.Certificate, error), error) {
	s := &serving{}
	for _, h := range hosts {
		s.hosts = append(s.hosts, strings.ToLower(h))
	}
	slices.Sort(s.hosts)
	s.hosts = slices.Compact(s.hosts)
	if len(s.hosts) == 0 {
		return nil, fault.New("membership.ServingCertificate", fault.Invalid, "no host name was given")
	}
	m.mu.Lock()
	known := m.serving[s.file()]
	m.mu.Unlock()
	if known != nil {
		return known.get, nil
	}
	if !m.loadServing(s) {
		if _, err := m.renewServing(ctx, s); err != nil {
			return nil, err
		}
	}
	m.mu.Lock()
	if first := m.serving[s.file()]; first != nil {
		s = first
	}
	m.serving[s.file()] = s
	m.mu.Unlock()
	signal(m.more)
	return s.get, nil
}

func (s *serving) get(*tls.ClientHelloInfo) (*tls.Certificate, error) { return s.current.Load(), nil }

func (m *Member) servings() []*serving {
	m.mu.Lock()
	defer m.mu.Unlock()
	var all []*serving
	for _, s := range m.serving {
		all = append(all, s)
	}
	return all
}

// loadServing tells whether the disk had one that is good now.
func (m *Member) loadServing(s *serving) bool {
	var k servingKept
	if err := m.files.load(s.file(), &k); err != nil {
		if fault.KindOf(err) != fault.NotFound {
			m.log.Warn("a serving certificate on disk cannot be used; asking for a new one", "error", err)
		}
		return false
	}
	pair, err := tls.X509KeyPair([]byte(k.Certificate), []byte(k.Key))
	now := m.clock.Now()
	if err != nil || !slices.Equal(k.Hosts, s.hosts) || now.Before(pair.Leaf.NotBefore) || now.After(pair.Leaf.NotAfter) {
		return false
	}
	if _, err := pair.Leaf.Verify(x509.VerifyOptions{Roots: m.creds.Roots(), CurrentTime: now}); err != nil {
		return false // of a deployment this member was in before
	}
	s.current.Store(&pair)
	return true
}

func (m *Member) renewServing(ctx context.Context, s *serving) (*x509.Certificate, error) {
	key, keyPEM, err := identity.NewKey()
	if err != nil {
		return nil, err
	}
	csr, err := identity.NewRequest(key, "", s.hosts...)
	if err != nil {
		return nil, err
	}
	var reply certificateReply
	if err := m.caller.call(ctx, "/member/v1/serving-certificate", renewRequest{CSR: string(csr), Hosts: s.hosts}, &reply); err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair([]byte(reply.Certificate), keyPEM)
	if err != nil {
		return nil, fault.New("membership.ServingCertificate", fault.Invalid, "the control plane answered with a certificate of another key").Because(err)
	}
	s.current.Store(&pair)
	err = m.files.save(s.file(), servingKept{Hosts: s.hosts, Key: string(keyPEM), Certificate: reply.Certificate})
	m.trouble(s.file(), "the "+s.what()+" is not on disk, and a restart will need the control plane", err)
	return pair.Leaf, nil
}
