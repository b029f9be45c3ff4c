package end

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
)

// Token is a proof of a workload's identity for one audience.
type Token struct {
	Text    string
	Expires time.Time
}

// Audiences of tokens, as Azure's SDKs ask for them.
const (
	AudienceEventHubs = "https://eventhubs.azure.net/"
	AudienceStorage   = "https://storage.azure.com/"
	AudienceIoTHub    = "https://iothubs.azure.net/"
)

// AudienceOf is the audience of one service alone, by its host name. Denied when the name is one that many services take tokens for: who serves
// it could show them to the others.
func AudienceOf(host string) (string, error) {
	audience := "https://" + host + "/"
	for _, shared := range []string{AudienceEventHubs, AudienceStorage, AudienceIoTHub, "https://containerregistry.azure.net/"} {
		if strings.EqualFold(audience, shared) {
			return "", fault.Newf("end.AudienceOf", fault.Denied, "tokens for a service called %s would be good at every service", host).
				Advise("the service has to have a host name of its own")
		}
	}
	return audience, nil
}

// End is one private endpoint as the parts of a bridge use it.
type End struct {
	plan.BridgeEnd
	// Connect opens a connection to a port of the service.
	Connect func(ctx context.Context, port uint16) (net.Conn, error)
	// TLS verifies the service: the machine's roots and the deployment's. ServerName is empty; use Config.
	TLS *tls.Config
	// Token gives a proof of the bridge's identity; nil where that means nothing.
	Token func(ctx context.Context, audience string) (Token, error)
	// Secret is the content of the secret's file, without white space around it; empty when none was named.
	Secret string
}

// Config returns how to speak TLS with the service under a name, its host name when empty.
func (e *End) Config(serverName string) *tls.Config {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if e.TLS != nil {
		c = e.TLS.Clone()
	}
	if serverName == "" {
		serverName = e.HostName
	}
	c.ServerName = serverName
	return c
}

// Dial is what client libraries want as a dialer: the port of address counts, its host does not, since the endpoint leads to one service.
func (e *End) Dial(ctx context.Context, _, address string) (net.Conn, error) {
	_, text, err := net.SplitHostPort(address)
	port, perr := strconv.ParseUint(text, 10, 16)
	if err != nil || perr != nil {
		return nil, fault.Newf("end.Dial", fault.Invalid, "%.100q is no address", address)
	}
	return e.To(ctx, uint16(port))
}

// To opens a connection to a port. Denied for a port that the service does not have, Unavailable while the endpoint is not approved.
func (e *End) To(ctx context.Context, port uint16) (net.Conn, error) {
	switch {
	case !e.Open:
		return nil, fault.Newf("end.Dial", fault.Unavailable, "the connection of the endpoint %s is not approved", e.Name).
			Advise("its state stands in: isthmus endpoint show %s", e.Name)
	case !slices.Contains(e.Ports, port):
		return nil, fault.Newf("end.Dial", fault.Denied, "the service behind the endpoint %s has no port %d", e.Name, port).
			Advise("it has %s", ports(e.Ports))
	}
	return e.Connect(ctx, port)
}

func ports(list []uint16) string {
	var b strings.Builder
	for i, p := range list {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(strconv.Itoa(int(p)))
	}
	return b.String()
}

// Port returns the first of the wanted ports that the service has, or the first it has.
func (e *End) Port(wanted ...uint16) uint16 {
	for _, p := range wanted {
		if slices.Contains(e.Ports, p) {
			return p
		}
	}
	if len(e.Ports) > 0 {
		return e.Ports[0]
	}
	return 0
}

// Transport returns a transport of HTTP that reaches the service and nothing else. The caller closes its idle connections.
func (e *End) Transport() *http.Transport {
	return &http.Transport{
		DialContext: e.Dial, TLSClientConfig: e.Config(""), ForceAttemptHTTP2: false, MaxIdleConnsPerHost: 16, IdleConnTimeout: time.Minute,
		TLSHandshakeTimeout: 10 * time.Second, ResponseHeaderTimeout: 5 * time.Minute,
	}
}

// URL returns the base of URLs at the service, without a slash at its end.
func (e *End) URL(plain bool) string {
	scheme, usual := "https", uint16(443)
	if plain {
		scheme, usual = "http", 80
	}
	host := e.HostName
	if host == "" {
		host = "service.invalid" // reaches the endpoint all the same
	}
	if port := e.Port(usual); port != usual {
		host = net.JoinHostPort(host, strconv.Itoa(int(port)))
	}
	return scheme + "://" + host
}
