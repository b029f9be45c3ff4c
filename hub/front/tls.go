package front

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"syscall"

	"github.com/isthmus-io/isthmus/fault"
)

// choose picks the certificate. A name that is not of the bound hub still gets its own certificate: the peer is told in its protocol,
// by the door, that it may not go there, instead of meeting a TLS error that says nothing.
func (f *Front) choose(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if _, ok := f.server.ByHost(hello.ServerName); ok {
		return f.certificate(lower(hello.ServerName))
	}
	if b, isBound := hello.Conn.(*bound); isBound && b.hub != "" {
		if h, ok := f.server.ByName(b.hub); ok {
			return f.certificate(h.HostName())
		}
	}
	if all := f.server.Hubs(); len(all) > 0 {
		return f.certificate(all[0].HostName())
	}
	return nil, fault.New("front.choose", fault.Unavailable, "no hub is served here yet").Advise("wait for the plan to arrive, or check that a service has servedBy set to this process")
}

// Bounds of what a peer may show: it is kept as long as the connection, and TLS itself takes 256 KiB of it.
const (
	maxChain      = 10       // certificates
	maxChainBytes = 32 << 10 // of all of them
)

// bounded refuses a peer that shows more certificates than a device needs.
func bounded(s tls.ConnectionState) error {
	size := 0
	for _, c := range s.PeerCertificates {
		size += len(c.Raw)
	}
	if len(s.PeerCertificates) > maxChain || size > maxChainBytes {
		return fault.Newf("front.handshake", fault.TooLarge, "the peer showed %d certificates with %d bytes", len(s.PeerCertificates), size).
			Advise("a device shows its own and those between it and its authority: %d with %d bytes at most", maxChain, maxChainBytes)
	}
	return nil
}

func lower(host string) string { return strings.ToLower(host) }

// handshakeWords says in words for people why TLS failed; nil when a peer just went away.
func handshakeWords(err error) error {
	op := "front.handshake"
	if errors.Is(err, io.EOF) || errors.Is(err, syscall.ECONNRESET) || errors.Is(err, net.ErrClosed) {
		return nil
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if _, ok := errors.AsType[tls.RecordHeaderError](err); ok {
		return fault.New(op, fault.Invalid, "the peer does not speak TLS").Advise("devices use mqtts on port 8883 and https on port 443").Because(err)
	}
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return fault.New(op, fault.Timeout, "the peer did not finish TLS in time").Because(err)
	}
	if o, ok := errors.AsType[*net.OpError](err); ok && o.Op == "remote error" {
		return fault.Newf(op, fault.Unauthenticated, "the peer broke TLS off: %v", o.Err).
			Advise("most often it does not trust the certificate: give the device the deployment's CA").Because(err)
	}
	return fault.New(op, fault.Invalid, "TLS failed: the peer offers nothing both sides know").Advise("TLS 1.2 with ECDHE and AES-GCM or ChaCha20, or TLS 1.3").Because(err)
}
