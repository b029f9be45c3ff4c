package transport

import (
	"context"
	"errors"
	"net"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

// ownCertificate fails while our own certificate cannot be accepted by anybody, which saves a handshake and gives the words
// to the side that can do something.
func (tr *Transport) ownCertificate() error {
	const op = "transport.ownCertificate"
	leaf, now := tr.creds.Leaf(), tr.clk.Now()
	_, person := tr.creds.ID().Person()
	switch {
	case !now.Before(leaf.NotAfter) && person:
		return fault.New(op, fault.Expired, "your pass lapsed at "+leaf.NotAfter.UTC().Format(time.RFC3339)).
			Advise("it is renewed once the control plane can be reached; if the clock of this machine is wrong, set it")
	case !now.Before(leaf.NotAfter):
		return fault.New(op, fault.Expired, "this agent's certificate lapsed at "+leaf.NotAfter.UTC().Format(time.RFC3339)).
			Advise("let it reach the control plane to renew it; if the clock of this machine is wrong, set it; after a long absence, join again with a new token")
	case now.Before(leaf.NotBefore):
		return fault.New(op, fault.Invalid, tr.own()+" is not valid before "+leaf.NotBefore.UTC().Format(time.RFC3339)).
			Advise("the clock of this machine is behind: set it (NTP)")
	}
	return nil
}

// handshakeFault explains why TLS with who failed, during the handshake or, when the peer refused us, at the first read after it.
func (tr *Transport) handshakeFault(op string, err error, who string) error {
	if inner, ok := errors.AsType[*fault.Error](err); ok { // we refused the peer
		return fault.New(op, inner.Kind, who+" was not accepted: "+inner.Message).Because(err).
			Advise("%s", orElse(inner.Next, "check that the address leads to the right machine and that both belong to the same deployment"))
	}
	if oe, ok := errors.AsType[*net.OpError](err); ok && oe.Op == "remote error" && strings.Contains(oe.Error(), "certificate") {
		return fault.New(op, fault.Unauthenticated, who+" refused "+tr.own()).Because(err).
			Advise("compare the clocks of both machines; if they agree, it was withdrawn or comes from another deployment: join again with a token, or log in again")
	}
	if ne, ok := errors.AsType[net.Error](err); (ok && ne.Timeout()) || errors.Is(err, context.DeadlineExceeded) {
		return fault.New(op, fault.Timeout, who+" did not finish the TLS handshake in time").Because(err).
			Advise("check that the address leads to it and that nothing in between inspects TLS")
	}
	return fault.New(op, fault.Unavailable, "the connection to "+who+" broke").Because(err).
		Advise("it is tried again by itself; if it stays so, check that nothing in between inspects TLS")
}

func orElse(s, other string) string {
	if s != "" {
		return s
	}
	return other
}

// own is what this side shows to others, in the words of whoever is told.
func (tr *Transport) own() string {
	if _, person := tr.creds.ID().Person(); person {
		return "your pass"
	}
	return "this agent's certificate"
}

// short names an agent for people: tenant/network/agent. People themselves are known by their uid alone here.
func short(id identity.ID) string {
	if a, ok := id.Agent(); ok {
		return a.Tenant + "/" + a.Network + "/" + a.Name
	}
	if p, ok := id.Person(); ok {
		return "the person " + p.Name + " of " + p.Tenant
	}
	return string(id)
}
