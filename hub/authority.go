package hub

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// maxAuthorities bounds what a handshake may have to search (IoT Hub: 25 certificates a hub).
const maxAuthorities = 100

// Authority is a certificate authority that vouches for devices, once somebody proved that he has its key.
type Authority struct {
	Name       string    `json:"name"`
	ETag       string    `json:"etag"`
	Subject    string    `json:"subject"`
	Thumbprint string    `json:"thumbprint"` // SHA-256, hex
	NotAfter   time.Time `json:"notAfter"`
	Verified   bool      `json:"verified"`
	PEM        string    `json:"certificate"`
	Created    time.Time `json:"created"`
	Updated    time.Time `json:"updated"`
}

// authorities is what a hub trusts now. It is replaced, never changed.
type authorities struct {
	all      map[string]hubstore.Authority // by name
	verified *x509.CertPool
	thumbs   map[string]bool // of the verified ones
}

func (a *authorities) has(thumbprint string) bool { return a.thumbs[thumbprint] }

// vouches finds a way from a chain's first certificate, which must be one for clients or for anything, to a verified authority. It returns
// the authority's thumbprint, and when the first certificate of the way ends.
func (a *authorities) vouches(chain []*x509.Certificate, now time.Time) (thumbprint string, until time.Time, err error) {
	between := x509.NewCertPool()
	for _, c := range chain[1:] {
		between.AddCert(c)
	}
	ways, err := chain[0].Verify(x509.VerifyOptions{
		Roots: a.verified, Intermediates: between, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return "", time.Time{}, chainWords(err)
	}
	way := ways[0]
	for _, c := range way {
		if until.IsZero() || c.NotAfter.Before(until) {
			until = c.NotAfter
		}
	}
	sum := sha256.Sum256(way[len(way)-1].Raw)
	return hex.EncodeToString(sum[:]), until, nil
}

func chainWords(err error) error {
	op := "hub.Authenticate"
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.Expired {
		return fault.New(op, fault.Expired, "the device's certificate, or one above it, is not valid now").
			Advise("renew it, and compare the clocks of both machines if it is new").Because(err)
	}
	if e, ok := errors.AsType[x509.CertificateInvalidError](err); ok && e.Reason == x509.IncompatibleUsage {
		return fault.New(op, fault.Unauthenticated, "the device's certificate, or one above it, is not for clients").
			Advise("sign it with extended key usage clientAuth, or with none").Because(err)
	}
	return fault.New(op, fault.Unauthenticated, "no certificate authority this hub trusts has signed the device's certificate").
		Advise("add the authority: isthmus hub authority add; let the device send its intermediate certificates too").Because(err)
}

func (h *Hub) loadAuthorities(ctx context.Context) error {
	list, err := h.server.store.Authorities(ctx, h.id)
	if err != nil {
		return err
	}
	next := &authorities{all: map[string]hubstore.Authority{}, verified: x509.NewCertPool(), thumbs: map[string]bool{}}
	for _, a := range list {
		next.all[a.Name] = a
		if c, err := parseCertificate(a.Certificate); err == nil && a.Verified {
			next.verified.AddCert(c)
			next.thumbs[a.Thumbprint] = true
		}
	}
	h.trusted.Store(next)
	return nil
}

func parseCertificate(text string) (*x509.Certificate, error) {
	op := "hub.Authority"
	block, rest := pem.Decode([]byte(text))
	if block == nil || block.Type != "CERTIFICATE" || strings.TrimSpace(string(rest)) != "" {
		return nil, fault.New(op, fault.Invalid, "this is not one certificate in PEM").Advise("it begins with -----BEGIN CERTIFICATE-----, and there is only one")
	}
	c, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		return nil, fault.New(op, fault.Invalid, "the certificate cannot be read").Because(err)
	}
	return c, nil
}

// Authorities returns the hub's authorities by name.
func (h *Hub) Authorities() []Authority {
	all := h.trusted.Load().all
	out := make([]Authority, 0, len(all))
	for _, name := range slices.Sorted(maps.Keys(all)) {
		out = append(out, viewAuthority(all[name]))
	}
	return out
}

func viewAuthority(a hubstore.Authority) Authority {
	v := Authority{Name: a.Name, ETag: a.ETag, Thumbprint: a.Thumbprint, Verified: a.Verified, PEM: a.Certificate, Created: a.Created, Updated: a.Updated}
	if c, err := parseCertificate(a.Certificate); err == nil {
		v.Subject, v.NotAfter = c.Subject.String(), c.NotAfter
	}
	return v
}

// AddAuthority adds a certificate authority, or replaces one of the name. verified says that the caller vouches for it; else devices are
// let in only after Verify.
func (h *Hub) AddAuthority(ctx context.Context, name, certificate string, verified bool) (Authority, error) {
	op := "hub.AddAuthority"
	if err := validID("certificate", name); err != nil {
		return Authority{}, err
	}
	c, err := parseCertificate(certificate)
	if err != nil {
		return Authority{}, err
	}
	if !c.IsCA || !c.BasicConstraintsValid {
		return Authority{}, fault.New(op, fault.Invalid, "the certificate is not that of an authority: basic constraints do not say CA").Advise("give the one that signs the devices' certificates")
	}
	sum, now := sha256.Sum256(c.Raw), h.server.clock.Now()
	made := hubstore.Authority{
		Hub: h.id, Name: name, ETag: newETag(), Certificate: certificate, Thumbprint: hex.EncodeToString(sum[:]), Verified: verified, Created: now, Updated: now,
	}
	out, err := viewed(h.changeAuthority(ctx, name, func(old *hubstore.Authority) (*hubstore.Authority, error) {
		if old == nil && len(h.trusted.Load().all) >= maxAuthorities {
			return nil, fault.Newf(op, fault.Exhausted, "the hub has %d certificate authorities, which is its limit", maxAuthorities).Advise("delete those nobody needs")
		}
		if old != nil {
			made.Created = old.Created
		}
		return &made, nil
	}))
	h.cutUnvouched() // of the certificate that was replaced
	return out, err
}

// ChallengeAuthority returns the code which a certificate signed by the authority has to have as its common name, as proof that the
// caller has the authority's key (IoT Hub: proof of possession).
func (h *Hub) ChallengeAuthority(ctx context.Context, name string) (code string, err error) {
	sum := sha256.Sum256([]byte(randomText(32)))
	code = strings.ToUpper(hex.EncodeToString(sum[:24]))
	_, err = h.changeAuthority(ctx, name, func(old *hubstore.Authority) (*hubstore.Authority, error) {
		if old == nil {
			return nil, noAuthority(name)
		}
		next := *old
		next.Code = code
		return &next, nil
	})
	return code, err
}

// VerifyAuthority takes the certificate which answers ChallengeAuthority; devices of the authority are let in from then on.
func (h *Hub) VerifyAuthority(ctx context.Context, name, proof string) (Authority, error) {
	op := "hub.VerifyAuthority"
	p, err := parseCertificate(proof)
	if err != nil {
		return Authority{}, err
	}
	return viewed(h.changeAuthority(ctx, name, func(old *hubstore.Authority) (*hubstore.Authority, error) {
		if old == nil {
			return nil, noAuthority(name)
		}
		c, err := parseCertificate(old.Certificate)
		if err != nil {
			return nil, err
		}
		if old.Code == "" {
			return nil, fault.New(op, fault.Precondition, "no verification code was asked for").Advise("ask for one first: isthmus hub authority challenge %s", name)
		}
		if subtle.ConstantTimeCompare([]byte(p.Subject.CommonName), []byte(old.Code)) != 1 || p.CheckSignatureFrom(c) != nil {
			return nil, fault.New(op, fault.Unauthenticated, "the proof is not signed by the authority, or its common name is not the verification code").
				Advise("sign a certificate with the common name %s by the authority's key", old.Code)
		}
		next := *old
		next.Verified, next.Code, next.Updated, next.ETag = true, "", h.server.clock.Now(), newETag()
		return &next, nil
	}))
}

// DeleteAuthority takes an authority away, and cuts the sessions that it vouched for before it returns.
func (h *Hub) DeleteAuthority(ctx context.Context, name string) (cut int, err error) {
	if _, ok := h.trusted.Load().all[name]; !ok {
		return 0, noAuthority(name)
	}
	if _, err := h.changeAuthority(ctx, name, nil); err != nil {
		return 0, err
	}
	return h.cutUnvouched(), nil
}

// cutUnvouched ends the sessions of devices whose authority the hub trusts no more.
func (h *Hub) cutUnvouched() int {
	now := h.trusted.Load()
	return h.cutWhere(KeyGone, func(s *Session) bool {
		authority := s.proof().signer.authority
		return authority != "" && !now.has(authority)
	})
}

// changeAuthority replaces an authority by what next makes of it, or takes it away when next is nil.
func (h *Hub) changeAuthority(ctx context.Context, name string, next func(old *hubstore.Authority) (*hubstore.Authority, error)) (hubstore.Authority, error) {
	h.renewing.Lock()
	defer h.renewing.Unlock()
	var old, now *hubstore.Authority
	if a, ok := h.trusted.Load().all[name]; ok {
		old = &a
	}
	if next != nil {
		var err error
		if now, err = next(old); err != nil {
			return hubstore.Authority{}, err
		}
	}
	err := h.server.store.Write(ctx, func(tx *hubstore.Tx) error {
		if now == nil {
			return tx.DeleteAuthority(h.id, name)
		}
		return tx.SetAuthority(*now)
	})
	if err == nil {
		err = h.loadAuthorities(ctx)
	}
	if err != nil || now == nil {
		return hubstore.Authority{}, err
	}
	h.server.log.Info("hub: certificate authority changed", "hub", h.Name(), "authority", name, "verified", now.Verified)
	return *now, nil
}

func viewed(a hubstore.Authority, err error) (Authority, error) {
	if err != nil {
		return Authority{}, err
	}
	return viewAuthority(a), nil
}

func noAuthority(name string) error {
	return fault.Newf("hub.Authority", fault.NotFound, "the hub has no certificate authority %q", shorten(name)).Advise("list them: isthmus hub authority list")
}
