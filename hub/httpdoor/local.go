package httpdoor

import (
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/builtin"
)

// hubJSON is a hub as the local socket lists it.
type hubJSON struct {
	Name      string   `json:"name"`
	HostNames []string `json:"hostNames"`
	Public    bool     `json:"public"`
	// Provisioning says that it is a provisioning service, which shares sides and names with hubs and nothing else.
	Provisioning bool `json:"provisioning,omitempty"`
	// EventHubs says that it is a namespace of event hubs.
	EventHubs bool `json:"eventHubs,omitempty"`
	// Storage says that it is a blob service.
	Storage bool `json:"storage,omitempty"`
	hub.Stats
}

func listHubs(x *exchange) error {
	out := []hubJSON{}
	for _, h := range x.door.server.Hubs() {
		out = append(out, hubJSON{h.Name(), h.HostNames(), h.Public(), h.Provisioning(), h.Namespace(), h.Storage(), h.Stats()})
	}
	return x.reply(out)
}

func getPolicy(x *exchange) error {
	key := hub.Primary
	if s := x.URL.Query().Get("key"); s != "" {
		key = hub.Which(s)
	}
	text, err := x.hub.PolicyConnectionStringWith(x.name, key)
	if err != nil {
		return elsewhere(err)
	}
	events, err := builtin.ConnectionString(x.hub, x.name, key)
	if err != nil {
		return elsewhere(err)
	}
	return x.reply(map[string]string{"hub": x.hub.Name(), "policy": x.name, "connectionString": text, "eventHubsConnectionString": events})
}
