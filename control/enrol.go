package control

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"time"

	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// askAgain is how long the joiner that used a token may fetch its certificate again with the same key: the reply may have been lost on
// the way.
const askAgain = 10 * time.Minute

// Enrol turns a join token into an identity: the noun of an agent or relay, a certificate for the joiner's key, and its plan. The
// one use of the token is spent by it and by nothing else: an error leaves it good. Within ten minutes the same token with the same key
// gives a certificate for the same identity again.
//
// Faults: Invalid (token unreadable, request unreadable, the joiner's clock is off), Unauthenticated (token unknown or wrong),
// Expired (or revoked), Conflict (used, or the name is taken), Denied (the token is for another name).
func (c *Control) Enrol(ctx context.Context, req EnrolRequest) (EnrolReply, error) {
	op := "control.Enrol"
	tok, err := jointoken.Parse(req.Secret)
	if err != nil {
		return EnrolReply{}, err
	}
	if err := c.checkClock(op, req.Now); err != nil {
		return EnrolReply{}, err
	}
	if req.Name != "" {
		if err := resource.ValidateName(req.Name); err != nil {
			return EnrolReply{}, err
		}
	}
	for what, hp := range map[string]string{"the direct address": req.Direct, "the relay's address": req.Address} {
		if err := checkHostPort(op, what, hp); err != nil {
			return EnrolReply{}, err
		}
	}
	req.Version = cut(req.Version, maxVersion)
	var out EnrolReply
	err = c.store.View(ctx, func(tx *store.Tx) error { // a stranger does not get as far as the lock that writers take
		_, err := knownToken(tx, tok)
		return err
	})
	if err == nil {
		err = c.enrol(ctx, tok, req, &out)
	}
	if err != nil {
		if k := fault.KindOf(err); k == fault.Unauthenticated || k == fault.Conflict || k == fault.Expired {
			c.metrics.refused.Inc()
			c.log.Warn("control: joining refused", "token", tok.ID, "error", err)
		}
		return EnrolReply{}, err
	}
	if out.Plan, err = c.plan(op, out.ID); err != nil {
		return EnrolReply{}, err
	}
	if out.Plan.HasParts() {
		out.Plan = plan.Plan{} // long lists of rules come over the stream only
	}
	c.log.Info("control: joined", "id", string(out.ID), "version", req.Version)
	return out, nil
}

// knownToken finds a token by its id and compares the secret.
func knownToken(tx *store.Tx, tok jointoken.Token) (store.JoinToken, error) {
	t, ok, err := tx.JoinToken(tok.ID)
	if err != nil {
		return t, err
	}
	if subtle.ConstantTimeCompare(hashOf(tok.Secret), t.Hash) != 1 || !ok {
		return t, fault.New("control.Enrol", fault.Unauthenticated, "the join token is not known here").
			Advise("check that it was made by this server and that the whole of it was copied; make a new one with: isthmus token join")
	}
	return t, nil
}

func (c *Control) enrol(ctx context.Context, tok jointoken.Token, req EnrolRequest, out *EnrolReply) error {
	return c.update(ctx, "join token "+tok.ID, "", func(w *work) error {
		t, err := knownToken(w.Tx, tok)
		if err != nil {
			return err
		}
		w.who = "join token " + t.ID + " made by " + t.MadeBy
		*out, err = w.enrol(t, req)
		return err
	})
}

// checkClock refuses a joiner whose certificate would seem to be not valid yet, or lapsed, to itself or to others.
func (c *Control) checkClock(op string, theirs time.Time) error {
	if theirs.IsZero() {
		return nil
	}
	ours := c.clock.Now()
	off := theirs.Sub(ours)
	if off.Abs() <= c.cfg.ClockTolerance {
		return nil
	}
	word := "ahead of"
	if off < 0 {
		word = "behind"
	}
	return fault.Newf(op, fault.Invalid, "this machine's clock is %s %s the server's (%s here, %s there)",
		off.Abs().Round(time.Second), word, theirs.UTC().Format(time.RFC3339), ours.UTC().Format(time.RFC3339)).
		Advise("set the clock, best with NTP (timedatectl set-ntp true), then join again with the same token, which is still good; certificates need clocks within %s", c.cfg.ClockTolerance)
}

func (w *work) enrol(t store.JoinToken, req EnrolRequest) (EnrolReply, error) {
	op := "control.Enrol"
	again := anotherToken(t)
	key, err := keyHash(op, req.CSR)
	if err != nil {
		return EnrolReply{}, err
	}
	use, before, err := w.JoinUse(t.ID, key)
	switch {
	case err != nil:
		return EnrolReply{}, err
	case before && w.now.Sub(use.At) < askAgain:
		return w.certify(identity.ID(use.By), req.CSR)
	case before && t.Uses > 1:
		return EnrolReply{}, fault.Newf(op, fault.Conflict, "this process joined already, at %s as %s", use.At.Format(time.RFC3339), use.By).
			Advise("use the identity it got, or join from an empty directory")
	case t.Used >= t.Uses && t.Uses > 1:
		return EnrolReply{}, fault.Newf(op, fault.Conflict, "the join token was %s", usedWords(t)).Advise("it was good for %d processes; %s", t.Uses, again)
	case t.Used >= t.Uses:
		return EnrolReply{}, fault.Newf(op, fault.Conflict, "the join token was %s", usedWords(t)).Advise("a token is good for one process; %s", again)
	}
	if !t.Revoked.IsZero() {
		return EnrolReply{}, fault.Newf(op, fault.Expired, "the join token was revoked at %s, before it was used", t.Revoked.Format(time.RFC3339)).
			Advise("ask whoever gave it to you why; if the %s is to join, %s", t.For, again)
	}
	if w.now.After(t.Expires) {
		return EnrolReply{}, fault.Newf(op, fault.Expired, "the join token expired at %s", t.Expires.Format(time.RFC3339)).Advise("%s", again)
	}
	name := req.Name
	switch {
	case t.Name != "" && name != "" && name != t.Name:
		return EnrolReply{}, fault.Newf(op, fault.Denied, "the join token is for %q, not for %q", t.Name, name).
			Advise("join as %s, or %s", t.Name, again)
	case t.Name != "":
		name = t.Name
	case name == "":
		name = t.For + "-" + letters(6)
	}
	var o resource.Object
	if Joiner(t.For) == JoinRelay {
		o, err = w.newRelay(op, name, req)
	} else {
		o, err = w.newAgent(op, t, name, req)
	}
	if err != nil {
		return EnrolReply{}, err
	}
	id, err := idOf(o)
	if err != nil {
		return EnrolReply{}, err
	}
	out, err := w.issue(id, req.CSR)
	if err != nil {
		return EnrolReply{}, err
	}
	out.Name = name
	if a, ok := o.(*resource.Agent); ok {
		a.Status.CertificateEnd = out.Expires
	}
	if err := w.insert(o, change{}); err != nil {
		return EnrolReply{}, err
	}
	if err := w.UseJoinToken(t.ID, store.JoinUse{Key: key, By: string(id), At: w.now}); err != nil {
		return EnrolReply{}, err
	}
	k := o.Head().Key()
	return out, w.record(ownerOf(k), "enrol", k, nil, map[string]any{"id": id, "for": t.For, "token": t.ID, "version": req.Version})
}

// newAgent gives an agent an id that no other agent had or will have: somebody who kept the certificate of a deleted agent is not
// taken for a new one of the same name.
func (w *work) newAgent(op string, t store.JoinToken, name string, req EnrolRequest) (resource.Object, error) {
	if err := w.mustExist(op, networkKey(t.Tenant, t.Network)); err != nil {
		return nil, err
	}
	o, _ := resource.New(resource.KindAgent)
	a := o.(*resource.Agent)
	a.Metadata = resource.Meta{Tenant: t.Tenant, Network: t.Network, Name: name}
	switch Joiner(t.For) {
	case JoinHub:
		a.Spec.Role = resource.RoleHub
	case JoinGateway:
		a.Spec.Role = resource.RoleGateway
	case JoinBridge:
		a.Spec.Role = resource.RoleBridge
	default:
		a.Spec.Role = resource.RoleAgent
	}
	a.Spec.EphemeralAfterSeconds = int(t.Ephemeral.Seconds())
	if err := w.mustBeFree(op, a.Key()); err != nil {
		return nil, err
	}
	a.Status = resource.AgentStatus{
		SPIFFEID: string(identity.AgentID(w.c.cfg.TrustDomain, t.Tenant, t.Network, name+"."+letters(8))), Version: req.Version, DirectAddress: req.Direct,
	}
	return a, nil
}

func (w *work) newRelay(op, name string, req EnrolRequest) (resource.Object, error) {
	if req.Address == "" { // Enrol has checked its shape
		return nil, fault.New(op, fault.Invalid, "a relay joins with the address that agents dial").Advise("give it as host:port, such as relay.example.net:443")
	}
	o, _ := resource.New(resource.KindRelay)
	r := o.(*resource.Relay)
	r.Metadata, r.Spec.Address = resource.Meta{Name: name}, req.Address
	if err := w.mustBeFree(op, r.Key()); err != nil {
		return nil, err
	}
	r.Status.SPIFFEID = string(identity.RelayID(w.c.cfg.TrustDomain, name+"."+letters(8)))
	return r, nil
}

func (w *work) mustBeFree(op string, key resource.Key) error {
	o, err := w.get(key)
	if err != nil || o == nil {
		return err
	}
	return fault.Newf(op, fault.Conflict, "%s joined already", key).
		Advise("choose another name, or delete the old one first: isthmus delete %s %s --reason ...; the token is still good", singular(key.Kind), key.Path())
}

func singular(k resource.Kind) string { p := plural(k); return p[:len(p)-1] }

func idOf(o resource.Object) (identity.ID, error) {
	switch o := o.(type) {
	case *resource.Agent:
		return identity.ID(o.Status.SPIFFEID), nil
	case *resource.Relay:
		return identity.ID(o.Status.SPIFFEID), nil
	}
	return "", fault.Newf("control.idOf", fault.Internal, "a %s has no identity", o.Head().Kind)
}

// keyHash names the key in a certificate request.
func keyHash(op, csr string) (string, error) {
	b, _ := pem.Decode([]byte(csr))
	if b == nil {
		return "", fault.New(op, fault.Invalid, "the certificate request is no PEM text")
	}
	r, err := x509.ParseCertificateRequest(b.Bytes)
	if err != nil {
		return "", fault.New(op, fault.Invalid, "the certificate request cannot be read").Because(err)
	}
	sum := sha256.Sum256(r.RawSubjectPublicKeyInfo)
	return hex.EncodeToString(sum[:]), nil
}
