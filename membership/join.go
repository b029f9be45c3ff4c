package membership

import (
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
)

type enrolRequest struct {
	Secret  string    `json:"secret"`
	Name    string    `json:"name,omitempty"`
	CSR     string    `json:"csr"`
	Version string    `json:"version,omitempty"`
	Address string    `json:"address,omitempty"`
	Direct  string    `json:"direct,omitempty"`
	Now     time.Time `json:"now,omitzero"`
}

type enrolReply struct {
	ID          identity.ID `json:"id"`
	Certificate string      `json:"certificate"`
	Roots       string      `json:"roots"`
	Plan        plan.Plan   `json:"plan"`
}

// Join trades a token for an identity and keeps it, with the first plan, in cfg.Dir. The key is made here and never leaves the
// machine. A fault says what is wrong: Invalid (token unreadable, or a clock is off), Conflict (there is an identity already, or the
// token was used), Expired (the token), Unauthenticated (a server with another fingerprint), Unavailable (no server; all that were
// tried are named), Exhausted or Denied (the directory). Whatever fails before the server has answered leaves the token unspent.
func Join(ctx context.Context, cfg Config, token string, info JoinInfo) error {
	op := "membership.Join"
	clk := info.Clock
	if clk == nil {
		clk = clock.System{}
	}
	f, err := newFiles(cfg)
	if err != nil {
		return err
	}
	if f.has(identityFile) && !cfg.Force {
		return fault.Newf(op, fault.Conflict, "there is an identity in %s already", cfg.Dir).
			Advise("use another --data-dir, or join with --force to give the old identity up")
	}
	t, err := jointoken.Parse(token)
	if err != nil {
		return err
	}
	if err := f.roomFor(); err != nil {
		return err
	}
	keyPEM, csr, err := f.joiningKey(t)
	if err != nil {
		return err
	}
	servers := t.Addresses
	if len(cfg.Servers) > 0 {
		servers = cfg.Servers
	}
	c, err := newCaller(cfg, servers, pinnedTLS(t, clk.Now), clk)
	if err != nil {
		return err
	}
	defer c.close()
	version := info.Version
	if version == "" {
		version = cfg.Version
	}
	req := enrolRequest{
		Secret: token, Name: info.Name, CSR: csr, Version: version, Address: info.Address, Direct: info.Direct, Now: clk.Now(),
	}
	var reply enrolReply
	if err := c.call(ctx, "/member/v1/enrol", req, &reply); err != nil {
		if errors.Is(err, errClock) {
			return clockFault(ctx, cfg, t, servers, clk, err)
		}
		return fault.Wrap(op, fault.Internal, err, "")
	}
	k := kept{ID: reply.ID, TrustDomain: t.TrustDomain, Servers: servers, Key: keyPEM, Certificate: reply.Certificate, Roots: reply.Roots}
	if err := k.check(t.Pin); err != nil {
		return err
	}
	return f.keepNew(k, reply.Plan)
}

// joining is the key of an attempt to join. It is kept until the attempt is over, because the control plane answers the same token
// with the same key once more when its reply was lost.
type joining struct {
	Token string `json:"token"` // the token's id
	Key   string `json:"key"`   // PKCS #8 PEM
}

// joiningKey returns the key for a token, made now or in an earlier attempt, with a request for its certificate.
func (f files) joiningKey(t jointoken.Token) (keyPEM, csr string, err error) {
	op := "membership.Join"
	var j joining
	if err := f.load(joiningFile, &j); err != nil || j.Token != t.ID {
		_, k, err := identity.NewKey()
		if err != nil {
			return "", "", err
		}
		j = joining{Token: t.ID, Key: string(k)}
		if err := f.save(joiningFile, j); err != nil {
			return "", "", err
		}
	}
	var signer crypto.Signer
	if b, _ := pem.Decode([]byte(j.Key)); b != nil {
		k, _ := x509.ParsePKCS8PrivateKey(b.Bytes)
		signer, _ = k.(crypto.Signer)
	}
	if signer == nil {
		return "", "", fault.New(op, fault.Invalid, f.path(joiningFile)+" is damaged").Advise("remove it and join again")
	}
	req, err := identity.NewRequest(signer, "")
	return j.Key, string(req), err
}

// keepNew writes the plan first: the identity is what makes the directory a member's.
func (f files) keepNew(k kept, p plan.Plan) error {
	const spent = "see to the disk and join again with the same token within ten minutes; later only a new token helps"
	if p.Revision != "" {
		if err := f.savePlan(p); err != nil {
			return fault.New("membership.Join", fault.KindOf(err), fault.Message(err)).Because(err).Advise(spent)
		}
	}
	if err := f.save(identityFile, k); err != nil {
		return fault.New("membership.Join", fault.KindOf(err), fault.Message(err)).Because(err).Advise(spent)
	}
	return f.remove(joiningFile)
}

// roomFor finds out before a token is spent whether an identity and a plan of usual size can be written.
func (f files) roomFor() error {
	const probe = ".room"
	if err := f.saveBytes(probe, make([]byte, 64<<10)); err != nil {
		return err
	}
	return f.remove(probe)
}

// check refuses a reply that would not work: another trust domain, a certificate for another key, roots without the pinned one.
func (k kept) check(pin string) error {
	op := "membership.Join"
	odd := fault.New(op, fault.Unauthenticated, "the control plane's reply does not hold together").
		Advise("its version may be too new or too old for this program")
	creds, err := identity.NewCredentials([]byte(k.Certificate), []byte(k.Key), []byte(k.Roots))
	if err != nil {
		return odd.Because(err)
	}
	if creds.ID() != k.ID || k.ID.TrustDomain() != k.TrustDomain {
		return odd.Because(fmt.Errorf("the certificate is of %s, the reply of %s", creds.ID(), k.ID))
	}
	for rest := []byte(k.Roots); ; {
		var b *pem.Block
		if b, rest = pem.Decode(rest); b == nil {
			return odd.Because(errors.New("the pinned authority is not among the roots"))
		}
		if c, err := x509.ParseCertificate(b.Bytes); err == nil && jointoken.Pin(c) == pin {
			return nil
		}
	}
}

// pinnedTLS trusts the authority that the token names and nobody else. now is nil to look past the time.
func pinnedTLS(t jointoken.Token, now func() time.Time) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		NextProtos:         []string{"h2", "http/1.1"},
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection checks the pinned authority and the SPIFFE id
		VerifyConnection: func(cs tls.ConnectionState) error {
			ca, err := pinned(cs, t.Pin)
			if err != nil {
				return err
			}
			roots := x509.NewCertPool()
			roots.AddCert(ca)
			at := cs.PeerCertificates[0].NotBefore
			if now != nil {
				at = now()
			}
			return verifyServer(cs, roots, t.TrustDomain, at)
		},
	}
}

// clockFault asks a server with the right authority for the time, without telling it any secret, and says how far off we are. If
// that cannot be learned, the fault from the handshake stands.
func clockFault(ctx context.Context, cfg Config, t jointoken.Token, servers []string, clk clock.Clock, otherwise error) error {
	c, err := newCaller(cfg, servers, pinnedTLS(t, nil), clk)
	if err != nil {
		return otherwise
	}
	defer c.close()
	var theirs time.Time
	err = c.each(ctx, func(server string) (bool, error) {
		ctx, cancel := context.WithTimeout(ctx, c.timeout)
		defer cancel()
		resp, err := c.do(ctx, http.MethodGet, server, "/healthz", nil)
		if err != nil {
			return false, err
		}
		defer resp.Body.Close()
		theirs, err = http.ParseTime(resp.Header.Get("Date"))
		return err == nil, err
	})
	if err != nil {
		return otherwise
	}
	off, way := theirs.Sub(clk.Now()), "behind"
	if off < 0 {
		off, way = -off, "ahead of"
	}
	return fault.Newf("membership.Join", fault.Invalid, "this machine's clock is %s %s the server's: it shows %s, and there it is %s",
		off.Round(time.Second), way, stamp(clk.Now()), stamp(theirs)).Because(otherwise).Advise(setTheClock)
}
