package amqpdoor

import (
	"context"
	"net/url"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/workload"
)

// maxClaims is how many tokens a connection may hold: one for each identity, and a few more.
const maxClaims = 2048

// sasToken is the kind of token SDKs of IoT Hub put.
const sasToken = "servicebus.windows.net:sastoken"

// claims are the tokens of one connection, by what they cover below the hub: "" for all of it, "devices", "devices/d", "devices/d/modules/m".
// Each was proved when it was put, and is proved again whenever it is used.
type claims struct {
	hub   *hub.Hub
	clock clock.Clock

	mu       sync.Mutex // guards the fields below
	devices  map[string]token
	services map[string]hub.ServiceClaim
	changed  chan struct{}
}

// token is one that is good for identities.
type token struct {
	text string
	ends time.Time
}

func newClaims(h *hub.Hub, clk clock.Clock) *claims {
	return &claims{hub: h, clock: clk, devices: map[string]token{}, services: map[string]hub.ServiceClaim{}, changed: make(chan struct{})}
}

// put takes a token. policy says that it was made with the key of one, or is a workload's, which may do what services do. Faults are those of hub.Prove.
func (c *claims) put(ctx context.Context, text string) (path string, policy bool, err error) {
	op := "amqpdoor.put"
	if workload.Is(text) {
		claim, err := c.hub.ProveService(text)
		if err != nil {
			return "", true, err
		}
		return "", true, c.keep(op, ofWorkload+claim.Policy, text, sas.Token{}, &claim)
	}
	t, err := sas.Parse(text)
	if err != nil {
		return "", false, err
	}
	path, ok := resource(t)
	if t.Policy != "" {
		claim, err := c.hub.ProveService(text)
		if err != nil {
			return path, true, err
		}
		return path, true, c.keep(op, path, text, t, &claim)
	}
	n, isName := identity(path)
	if !ok || !isName {
		return path, false, fault.New(op, fault.Unauthenticated, "the token names no policy (skn) and covers no device").
			Advise("sign sr=%s/devices/{device id} with the key of the device", c.hub.HostName())
	}
	if _, err := c.hub.Prove(ctx, n, hub.Credentials{Token: text}); err != nil {
		return path, false, unproved(n, err, false)
	}
	return path, false, c.keep(op, path, text, t, nil)
}

func (c *claims) keep(op, path, text string, t sas.Token, claim *hub.ServiceClaim) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, known := c.devices[path]
	_, served := c.services[path]
	if !known && !served && len(c.devices)+len(c.services) >= maxClaims {
		c.sweep()
		if len(c.devices)+len(c.services) >= maxClaims {
			return code.With(fault.Newf(op, fault.Exhausted, "%d tokens were put on this connection already", maxClaims).
				Advise("spread the devices over more connections"), code.QuotaExceeded)
		}
	}
	if claim == nil || claim.Rights&hub.DeviceConnect != 0 {
		c.devices[path] = token{text, t.Expires}
	}
	if claim != nil {
		c.services[path] = *claim
	}
	close(c.changed)
	c.changed = make(chan struct{})
	return nil
}

// sweep forgets what has ended.
func (c *claims) sweep() {
	now := c.clock.Now()
	for path, t := range c.devices {
		if !now.Before(t.ends) {
			delete(c.devices, path)
		}
	}
	for path, s := range c.services {
		if !s.Expires.IsZero() && !now.Before(s.Expires) {
			delete(c.services, path)
		}
	}
}

// any tells whether the peer has claimed anything that is good now.
func (c *claims) any() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.sweep()
	return len(c.devices)+len(c.services) > 0
}

// claim is a token that may be good for an identity.
type claim struct {
	path string // what it covers; onCertificate for none
	text string
}

// ofWorkload begins what a workload's token is kept under: it covers what its roles do.
const ofWorkload = "\x00workload "

// onCertificate is the path of what stands on no token.
const onCertificate = "\x00certificate"

// of returns the tokens that may be good for an identity, the one that says most about it first.
func (c *claims) of(n hub.Name) []claim {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []claim
	for path := pathOf(n); ; {
		if t, ok := c.devices[path]; ok {
			out = append(out, claim{path, t.text})
		}
		if path == "" {
			return out
		}
		path = path[:max(0, strings.LastIndexByte(path, '/'))]
	}
}

// has tells whether there is a token for just this identity.
func (c *claims) has(n hub.Name) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.devices[pathOf(n)]
	return ok
}

// Service implements Claims.
func (c *claims) Service(path string) (hub.ServiceClaim, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	first := error(fault.New("amqpdoor.Service", fault.Unauthenticated, "no token of a policy was put on this connection").
		Advise("put the token of a policy with ServiceConnect to $cbs before attaching links"))
	found := false
	for _, s := range c.services {
		err := s.May(hub.ServiceConnect, path)
		if err == nil {
			return s, nil
		}
		if !found {
			first, found = err, true
		}
	}
	return hub.ServiceClaim{}, first
}

// Changed implements Claims.
func (c *claims) Changed() <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.changed
}

// resource is what a token covers below its host, decoded, in its own letters, without slashes at its ends. Whether it is the right host is
// looked at when the token is proved.
func resource(t sas.Token) (string, bool) {
	sr, err := url.PathUnescape(t.Resource)
	if err != nil {
		return "", false
	}
	if _, rest, ok := strings.Cut(sr, "://"); ok {
		sr = rest
	}
	_, path, _ := strings.Cut(sr, "/")
	return strings.Trim(path, "/"), true
}

func pathOf(n hub.Name) string {
	if n.IsModule() {
		return "devices/" + n.Device + "/modules/" + n.Module
	}
	return "devices/" + n.Device
}

// identity reads what pathOf wrote.
func identity(path string) (hub.Name, bool) {
	s := strings.Split(path, "/")
	switch {
	case len(s) == 2 && s[0] == "devices" && s[1] != "":
		return hub.Name{Device: s[1]}, true
	case len(s) == 4 && s[0] == "devices" && s[1] != "" && s[2] == "modules" && s[3] != "":
		return hub.Name{Device: s[1], Module: s[3]}, true
	}
	return hub.Name{}, false
}

// ofDevices tells whether a token's path is about devices and nothing else.
func ofDevices(path string) bool {
	first, _, _ := strings.Cut(path, "/")
	return first == "devices"
}
