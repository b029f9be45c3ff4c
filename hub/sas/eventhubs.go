package sas

import (
	"crypto/hmac"
	"crypto/sha256"
	"net/url"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// What the SDKs of Event Hubs do otherwise than those of IoT Hub: the bytes of a key are its text as it stands, not what that text
// means in base64, and a resource is written sb://, amqps:// or amqp:// host, perhaps with a port, and path, perhaps all in small letters.

// EitherSigner is Signer with each key read both ways, for policies that clients of either kind use.
func (t Token) EitherSigner(keys ...string) int {
	found := t.Signer(keys...)
	for i, k := range keys {
		if k != "" && hmac.Equal(textMAC([]byte(t.Resource+"\n"+t.expiry), k), t.mac) && found < 0 {
			found = i
		}
	}
	return found
}

// Under returns what stands in sr behind scheme, host and port: unescaped, in lower case, without slashes at its ends, so "" for the
// host alone. False when the host is none of hosts (lower case, no port), or sr cannot be read.
func (t Token) Under(hosts []string) (path string, ok bool) {
	sr, err := url.PathUnescape(t.Resource)
	if err != nil {
		return "", false
	}
	sr = strings.ToLower(sr)
	if _, rest, found := strings.Cut(sr, "://"); found {
		sr = rest
	}
	host, path, _ := strings.Cut(sr, "/")
	return strings.Trim(path, "/"), IsHost(host, hosts)
}

// SignText is Sign with a key whose bytes are its text, as the SDKs of Event Hubs sign.
func SignText(resource, key, policy string, expires time.Time) (string, error) {
	return SignBy(resource, policy, expires, func(text []byte) ([]byte, error) {
		if key == "" { // which everybody has
			return nil, fault.New("sas.SignText", fault.Invalid, "the shared access key is empty")
		}
		return textMAC(text, key), nil
	})
}

func textMAC(text []byte, key string) []byte {
	m := hmac.New(sha256.New, []byte(key))
	m.Write(text)
	return m.Sum(nil)
}

// EventHubs is a connection string of a namespace of event hubs, or of one event hub of it.
type EventHubs struct {
	HostName string
	Port     string // of the endpoint, when it names one
	Policy   string
	Key      string
	Entity   string // EntityPath: the event hub; empty for the namespace
	Plain    bool   // UseDevelopmentEmulator=true: clients come without TLS
}

// String renders it as SDKs read it. It holds the key: do not log it.
func (c EventHubs) String() string {
	host := c.HostName
	if strings.Contains(host, ":") { // an address of IPv6
		host = "[" + host + "]"
	}
	s := "Endpoint=sb://" + host
	if c.Port != "" {
		s += ":" + c.Port
	}
	s += "/;SharedAccessKeyName=" + c.Policy + ";SharedAccessKey=" + c.Key
	if c.Plain {
		s += ";UseDevelopmentEmulator=true"
	}
	if c.Entity != "" {
		s += ";EntityPath=" + c.Entity
	}
	return s
}

// ParseEventHubs reads one. Errors never repeat the text.
func ParseEventHubs(text string) (EventHubs, error) {
	var c EventHubs
	for part := range strings.SplitSeq(strings.TrimSpace(text), ";") {
		key, value, _ := strings.Cut(part, "=")
		switch strings.ToLower(strings.TrimSpace(key)) {
		case "endpoint":
			if u, err := url.Parse(strings.TrimSpace(value)); err == nil && strings.EqualFold(u.Scheme, "sb") {
				c.HostName, c.Port = u.Hostname(), u.Port()
			}
		case "sharedaccesskeyname":
			c.Policy = value
		case "sharedaccesskey":
			c.Key = value
		case "entitypath":
			c.Entity = value
		case "usedevelopmentemulator":
			c.Plain = strings.EqualFold(strings.TrimSpace(value), "true")
		}
	}
	if c.HostName == "" || c.Policy == "" || c.Key == "" {
		return EventHubs{}, fault.New("sas.ParseEventHubs", fault.Invalid, "this is no connection string of a namespace of event hubs").
			Advise("it reads Endpoint=sb://{host}/;SharedAccessKeyName={policy};SharedAccessKey={key}, and for one event hub ;EntityPath={name}")
	}
	return c, nil
}
