package amqpdoor

import (
	"net/url"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// kind is what a link of an identity is for.
type kind uint8

const (
	noKind kind = iota
	events      // messages to the hub; what the peer receives there are the inputs of a module
	commands
	methods
	twins
	streams
)

// kinds are the addresses below an identity's (IoT Hub: AMQP, device client). Case does not matter.
var kinds = map[string]kind{
	"messages/events": events, "messages/devicebound": commands, "methods/devicebound": methods, "twin": twins, "streams": streams,
}

// place is a link's address taken apart.
type place struct {
	name hub.Name
	kind kind
}

// isDevices tells whether a path is below devices/.
func isDevices(path string) bool {
	const root = "devices/"
	return len(path) >= len(root) && strings.EqualFold(path[:len(root)], root)
}

// parsePlace reads "devices/{d}/twin" or "devices/{d}/modules/{m}/twin". Ids are as they stand there: exactly, and not decoded.
func parsePlace(path string) (place, bool) {
	s := strings.SplitN(path, "/", 5)
	if len(s) < 3 || !strings.EqualFold(s[0], "devices") || s[1] == "" {
		return place{}, false
	}
	p := place{name: hub.Name{Device: s[1]}}
	rest := s[2:]
	if strings.EqualFold(s[2], "modules") && len(s) == 5 && s[3] != "" {
		p.name.Module, rest = s[3], s[4:]
	}
	p.kind = kinds[strings.ToLower(strings.Join(rest, "/"))]
	return p, p.kind != noKind
}

// takes tells whether a link may have its direction there.
func (p place) takes(l *engine.Link) error {
	way := "send to"
	if l.PeerReceives() {
		way = "receive from"
	}
	if l.PeerReceives() && p.kind == events && !p.name.IsModule() || !l.PeerReceives() && p.kind == commands {
		return code.With(fault.Newf("amqpdoor.Attach", fault.Denied, "%s cannot %s %.200q", p.name.Words(), way, l.Address()), code.InvalidOperation)
	}
	return nil
}

// decoded returns the name with its ids percent-decoded, as SDKs of .NET write them into addresses; false when there is nothing to decode.
func decoded(n hub.Name) (hub.Name, bool) {
	device, err := url.PathUnescape(n.Device)
	if err != nil {
		return n, false
	}
	module, err := url.PathUnescape(n.Module)
	if err != nil {
		return n, false
	}
	out := hub.Name{Device: device, Module: module}
	return out, out != n
}

// meant returns the identity a link is for: ids stand in addresses as they are, or percent-encoded. A token for one of the two decides, and
// then the certificate; for who may be any device what can be decoded was encoded.
func (v *conversation) meant(n hub.Name) hub.Name {
	plain, encoded := decoded(n)
	if !encoded || v.claims.has(n) {
		return n
	}
	if !v.claims.has(plain) && len(v.conn.Certificates) > 0 && v.conn.Certificates[0].Subject.CommonName == n.String() {
		return n
	}
	return plain
}
