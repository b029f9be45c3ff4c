package accessnode

import (
	"context"

	"github.com/isthmus-io/isthmus/access/sshproxy"
	"github.com/isthmus-io/isthmus/membership"
)

// certifier has keys of the proxy certified by the control plane.
type certifier struct{ member *membership.Member }

type certificate struct {
	Certificate string `json:"certificate"`
}

// session asks for what logs the person of a grant in to a machine.
func (c certifier) session(ctx context.Context, r sshproxy.CertifyRequest) (string, error) {
	var reply certificate
	err := c.member.Call(ctx, prefix+"session-certificates", struct {
		Grant     string `json:"grant"`
		Session   string `json:"session"`
		PublicKey string `json:"publicKey"`
		Login     string `json:"login"`
	}{r.Grant, r.Session, r.PublicKey, r.Login}, &reply)
	return reply.Certificate, err
}

// host asks for what people's programs know the targets of this process by: one certificate names them all.
func (c certifier) host(ctx context.Context, r sshproxy.HostCertifyRequest) (string, error) {
	var reply certificate
	err := c.member.Call(ctx, prefix+"host-certificates", struct {
		PublicKey string `json:"publicKey"`
	}{r.PublicKey}, &reply)
	return reply.Certificate, err
}
