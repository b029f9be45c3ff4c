package mqttdoor

import (
	"net/url"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// userName is what a CONNECT's user name says.
type userName struct {
	host     string // of the hub, as the connection string has it
	identity string // {device} or {device}/{module}
	model    string // of the device's model, a DTMI; may be empty
}

// parseUserName reads "{host}/{identity}/?api-version=..&model-id=.." and the old form without the question mark. api-version must be
// there; its value is not looked at, and what nobody knows is passed over. Of a key twice the first counts.
func parseUserName(s string) (userName, error) {
	bad := fault.Newf("mqttdoor.connect", fault.Unauthenticated, "the user name %.200q is not an IoT hub's", s).
		Advise("it reads {hub host name}/{device id}/?api-version=2021-04-12")
	host, rest, ok := strings.Cut(s, "/")
	end := strings.LastIndexByte(rest, '/')
	if !ok || host == "" || end <= 0 || strings.Count(rest[:end], "/") > 1 || rest[end-1] == '/' {
		return userName{}, bad
	}
	u := userName{host: host, identity: rest[:end]}
	known := map[string]string{}
	for field := range strings.SplitSeq(strings.TrimPrefix(rest[end+1:], "?"), "&") {
		key, value, ok := strings.Cut(field, "=")
		if _, again := known[key]; ok && !again {
			known[key] = value
		}
	}
	if _, ok := known["api-version"]; !ok {
		return userName{}, bad
	}
	u.model = known["model-id"]
	if plain, err := url.PathUnescape(u.model); err == nil { // some SDKs encode it, others do not
		u.model = plain
	}
	return u, nil
}

// registration tells whether it is the user name of a device that wants to be provisioned: {idScope}/registrations/{registration id}/..
// The scope is no host name, or it would be that of a device called "registrations".
func (d *Door) registration(s string) bool {
	scope, rest, _ := strings.Cut(s, "/")
	_, isHub := d.server.ByHost(scope)
	return !isHub && strings.HasPrefix(rest, "registrations/")
}
