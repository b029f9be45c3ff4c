package httpdoor

import (
	"crypto/tls"
	"crypto/x509"
)

// certificates are those the peer showed in TLS, its own first.
func (x *exchange) certificates() []*x509.Certificate {
	if c, ok := any(x.conn).(interface{ ConnectionState() tls.ConnectionState }); ok {
		return c.ConnectionState().PeerCertificates
	}
	return nil
}
