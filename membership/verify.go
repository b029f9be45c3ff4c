package membership

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

// errClock marks a chain that would be good at another time.
var errClock = fault.New("membership.verify", fault.Invalid, "clock")

// verifyServer checks that the peer's chain leads to roots now and that it is the control plane. Host names play no part.
func verifyServer(cs tls.ConnectionState, roots *x509.CertPool, trustDomain string, now time.Time) error {
	op := "membership.verify"
	leaf := cs.PeerCertificates[0]
	_, err := leaf.Verify(x509.VerifyOptions{Roots: roots, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	if err != nil {
		if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
			return fault.New(op, fault.Invalid, fmt.Sprintf("this machine's clock shows %s and the server's certificate is good from %s to %s: one of the clocks is wrong",
				stamp(now), stamp(leaf.NotBefore), stamp(leaf.NotAfter))).Because(errClock).Advise(setTheClock)
		}
		return fault.New(op, fault.Unauthenticated, "the server's certificate was not issued by this deployment").Because(err).Advise(wrongServer)
	}
	id, err := identity.FromCertificate(leaf)
	if err != nil {
		return err
	}
	if want := identity.ControlID(trustDomain); id != want {
		return fault.Newf(op, fault.Unauthenticated, "the server is %s, not %s", id, want).Advise(wrongServer)
	}
	return nil
}

const wrongServer = "somebody stands in between, or the address is of another server: compare the addresses with your administrator's"

// pinned finds the authority the token names in the chain the server sent.
func pinned(cs tls.ConnectionState, pin string) (*x509.Certificate, error) {
	for _, c := range cs.PeerCertificates {
		if jointoken.Pin(c) == pin {
			return c, nil
		}
	}
	return nil, fault.New("membership.verify", fault.Unauthenticated, "the server is not the one the join token was made for: its authority has another fingerprint").
		Advise("somebody stands in between, or the address is of another server: have a new token made, and ask why if this happens again")
}

const setTheClock = "set this machine's clock, for example with: timedatectl set-ntp true (Windows: w32tm /resync), then try again"

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") }
