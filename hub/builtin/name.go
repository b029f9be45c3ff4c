package builtin

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/route"
	"github.com/isthmus-io/isthmus/hub/sas"
)

// messagesEvents is what the built-in endpoint is called where a client speaks to the hub itself.
const messagesEvents = "messages/events"

// EntityName returns the name of the built-in endpoint as an event hub: iothub-ehub-contoso-25071887-66ce0d3b1f.
func EntityName(h *hub.Hub) string {
	label, _, _ := strings.Cut(h.HostName(), ".")
	sum := sha256.Sum256([]byte("built-in endpoint\x00" + h.ID()))
	number := binary.BigEndian.Uint32(sum[:]) % 90_000_000
	return "iothub-ehub-" + label[:min(len(label), 12)] + "-" + strconv.Itoa(int(number)+10_000_000) + "-" + hex.EncodeToString(sum[4:9])
}

// NamespaceHost returns the host name under which clients of Event Hubs reach the hub: the one of its names that reads as that of a namespace,
// such as iothub-ns-contoso-1.servicebus.windows.net, or else its public one.
func NamespaceHost(h *hub.Hub) string {
	names := h.HostNames()
	if i := slices.IndexFunc(names, func(n string) bool { return strings.Contains(n, ".servicebus.") }); i >= 0 {
		return names[i]
	}
	return names[0]
}

// ConnectionString returns what a person gives to an SDK of Event Hubs for reading the built-in endpoint with a policy's key. It holds the key:
// do not log it. Faults are those of hub.PolicyConnectionStringWith.
func ConnectionString(h *hub.Hub, policy string, key hub.Which) (string, error) {
	text, err := h.PolicyConnectionStringWith(policy, key)
	if err != nil {
		return "", err
	}
	c, err := sas.ParseConnectionString(text)
	if err != nil {
		return "", err
	}
	return sas.EventHubs{HostName: NamespaceHost(h), Policy: c.Policy, Key: c.Key, Entity: EntityName(h)}.String(), nil
}

// endpoint returns which endpoint of the hub a name means, in any case, and how it is spelled as an event hub.
func endpoint(h *hub.Hub, name string) (endpoint, spelled string, ok bool) {
	own := EntityName(h)
	for _, n := range []string{own, messagesEvents, route.BuiltIn} {
		if strings.EqualFold(name, n) {
			return route.BuiltIn, own, true
		}
	}
	found := ""
	for _, e := range h.Endpoints() {
		switch {
		case e.Kind != hub.StreamEndpoint:
		case e.Name == name:
			return e.Name, e.Name, true
		case strings.EqualFold(e.Name, name) && found == "":
			found = e.Name
		}
	}
	return found, found, found != ""
}

// split takes the name of an event hub from the front of a path below the host, in lower case, and gives it its one spelling there.
func split(h *hub.Hub, path string) (canonical string, ok bool) {
	name, rest := path, ""
	if after, is := strings.CutPrefix(path, messagesEvents); is && (after == "" || after[0] == '/') {
		name, rest = messagesEvents, after
	} else if i := strings.IndexByte(path, '/'); i >= 0 {
		name, rest = path[:i], path[i:]
	}
	_, spelled, ok := endpoint(h, name)
	return strings.ToLower(spelled) + rest, ok
}
