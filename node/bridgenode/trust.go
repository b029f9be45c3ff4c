package bridgenode

import (
	"crypto/tls"
	"crypto/x509"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
)

// trust verifies services: those that Isthmus serves have certificates of the deployment's authority, others those of the world's. The
// deployment's roots are asked for anew each time, since they may change while a bridge runs.
func trust(creds *identity.Credentials) *tls.Config {
	return &tls.Config{
		MinVersion:         tls.VersionTLS12,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, with two sets of roots
		VerifyConnection: func(cs tls.ConnectionState) error {
			op := "bridgenode.trust"
			if len(cs.PeerCertificates) == 0 {
				return fault.New(op, fault.Unauthenticated, "the service showed no certificate")
			}
			others := x509.NewCertPool()
			for _, c := range cs.PeerCertificates[1:] {
				others.AddCert(c)
			}
			if cs.ServerName == "" {
				return fault.New(op, fault.Unauthenticated, "the service has no host name by which its certificate could be verified").Advise("give its resource a hostName")
			}
			opts := x509.VerifyOptions{DNSName: cs.ServerName, Intermediates: others, Roots: creds.Roots()}
			if _, err := cs.PeerCertificates[0].Verify(opts); err == nil {
				return nil
			}
			opts.Roots = nil // the machine's
			_, err := cs.PeerCertificates[0].Verify(opts)
			return fault.Wrap(op, fault.Unauthenticated, err, "the certificate of "+cs.ServerName+" is not to be trusted")
		},
	}
}
