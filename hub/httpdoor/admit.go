package httpdoor

import (
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// admit checks who asks, and whether it is not too often. Devices are counted by the hub, by what they do.
func (x *exchange) admit(r *compiled) error {
	x.right = r.right
	if err := x.authorize(r); err != nil {
		return err
	}
	return x.count(r.class, 1)
}

// count is for what services do, which all of them share. Whoever may use the local socket is not held up.
func (x *exchange) count(c limit.Class, cost int) error {
	if x.local() || c == limit.Connects {
		return nil
	}
	_, err := x.hub.Admit(c, x.self.Name(), cost)
	return err
}

func (x *exchange) authorize(r *compiled) error {
	if x.local() {
		if r.by == byDevice {
			return fault.New("httpdoor.admit", fault.Invalid, "the local socket is for administration").Advise("devices speak HTTPS or MQTT")
		}
		return nil
	}
	var err error
	switch {
	case r.by == byTicket:
		return nil
	case r.by == byDevice:
		return x.prove(x.identity())
	case r.by == byEdge && x.isDevices():
		return x.proveEdge()
	}
	token := x.Header.Get("Authorization")
	if bearer, ok := x.bearer(); ok && r.by != byGrant {
		return x.proveWorkload(&r.route, bearer)
	}
	if r.by == byGrant {
		x.policy, x.expires, err = x.hub.AuthorizeStream(token)
		return err
	}
	x.policy, x.expires, err = x.hub.Authorize(token, r.right)
	if r.or != 0 && fault.KindOf(err) == fault.Denied {
		if policy, expires, other := x.hub.Authorize(token, r.or); other == nil {
			x.policy, x.expires, err = policy, expires, nil
		}
	}
	return err
}

// isDevices tells whether the proof in the request is a device's own: a token without a policy, or none and a certificate.
func (x *exchange) isDevices() bool {
	token := x.Header.Get("Authorization")
	if token == "" {
		return len(x.conn.Certificates) > 0
	}
	t, err := sas.Parse(token)
	return err == nil && t.Policy == ""
}

// prove checks that it is the identity who asks. Whoever has no key gets the same answer whether the identity exists or not, and however
// it would have to prove itself. Which of these it was is for the log.
func (x *exchange) prove(n hub.Name) error {
	id, err := x.hub.Prove(x.Context(), n, hub.Credentials{Token: x.Header.Get("Authorization"), Certificates: x.conn.Certificates})
	if err == nil {
		x.self = id
		return nil
	}
	// A certificate that ended was perhaps signed by nobody we know.
	kind, byCertificate := fault.KindOf(err), x.Header.Get("Authorization") == ""
	if !x.isDevices() || (kind != fault.NotFound && kind != fault.Unauthenticated && (kind != fault.Expired || !byCertificate)) {
		return err
	}
	x.conn.Refuse(n.String(), err)
	if byCertificate {
		return &refused{fault.Newf("httpdoor.prove", fault.Unauthenticated, "the certificate does not prove that it is %s", n.Words()).
			Advise("the hub's log says why; isthmus hub refusals has it too")}
	}
	return &refused{hub.WrongKey(n)}
}

func (x *exchange) proveEdge() error {
	n := hub.Name{Device: x.device}
	if err := x.prove(n); err != nil {
		return err
	}
	d, err := x.hub.Identity(x.Context(), n)
	if err != nil {
		return err
	}
	if !d.Edge {
		return fault.Newf("httpdoor.admit", fault.Denied, "%s is no edge device, so it may not read or change identities", n.Words()).
			Advise("use a policy's token, or set capabilities.iotEdge of the device")
	}
	return nil
}

// who tells, for the log, who asked.
func (x *exchange) who() string {
	switch {
	case x.local():
		return "the local socket"
	case x.workload != nil:
		return "workload " + x.workload.Workload + " from " + x.conn.Side.Peer.String()
	case x.policy == "":
		return x.self.Name().Words() + " from " + x.conn.Side.Peer.String()
	}
	return "policy " + x.policy + " from " + x.conn.Side.Peer.String()
}
