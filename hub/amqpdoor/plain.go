package amqpdoor

import (
	"context"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/front"
)

// password is what SASL PLAIN proved: a token, for a hub.
type password struct {
	hub  *hub.Hub
	text string
}

// AuthenticatePlain checks a user and password of SASL PLAIN: {device}@sas.{hub} or {policy}@sas.root.{hub}, and a SAS token that is good
// for it. {hub} is the first part of the hub's host name, or all of it; a module is {device}/{module}. Who came is for Converse. Faults are
// those of hub.Prove, and Denied for a hub that this peer cannot reach.
func (d *Door) AuthenticatePlain(ctx context.Context, conn *front.Conn, user, pass string) (who any, err error) {
	op := "amqpdoor.AuthenticatePlain"
	at := strings.LastIndex(user, "@sas.")
	if at <= 0 {
		return nil, fault.Newf(op, fault.Unauthenticated, "the user %.100q is not a hub's", user).Advise("it reads {device id}@sas.{hub} or {policy}@sas.root.{hub}")
	}
	id, name := user[:at], user[at+len("@sas."):]
	name, policy := strings.CutPrefix(name, "root.")
	h, err := d.server.Enter(conn.Side, d.hostOf(conn, name))
	if err != nil {
		return nil, err
	}
	if policy {
		claim, err := h.ProveService(pass)
		if err == nil && claim.Policy != id {
			err = fault.Newf(op, fault.Unauthenticated, "the token is of policy %s and the user of %.100q", claim.Policy, id)
		}
		if err != nil {
			return nil, err
		}
		return &password{h, pass}, nil
	}
	n := hub.Name{Device: id}
	if device, module, ok := strings.Cut(id, "/"); ok {
		n = hub.Name{Device: device, Module: module}
	}
	if pass == "" { // a certificate may be good for it, but is no password
		return nil, fault.Newf(op, fault.Unauthenticated, "%s sent no SAS token as its password", n.Words())
	}
	if _, err := h.Prove(ctx, n, hub.Credentials{Token: pass}); err != nil {
		return nil, err
	}
	return &password{h, pass}, nil
}

// hostOf finds the host name of a hub by its first part. The one the peer said in TLS goes before others that begin alike.
func (d *Door) hostOf(conn *front.Conn, name string) string {
	if strings.Contains(name, ".") {
		return name
	}
	first := func(host string) string {
		label, _, _ := strings.Cut(host, ".")
		return label
	}
	if strings.EqualFold(first(conn.Side.ServerName), name) {
		return conn.Side.ServerName
	}
	for _, h := range d.server.Hubs() {
		if !conn.Side.IsPublic() && h.ID() != conn.Side.Hub {
			continue
		}
		for _, host := range h.HostNames() {
			if strings.EqualFold(first(host), name) {
				return host
			}
		}
	}
	return name
}
