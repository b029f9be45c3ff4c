package httpdoor

import "github.com/isthmus-io/isthmus/hub"

// hubJSON is a hub as the local socket lists it.
type hubJSON struct {
	Name      string   `json:"name"`
	HostNames []string `json:"hostNames"`
	Public    bool     `json:"public"`
	hub.Stats
}

func listHubs(x *exchange) error {
	out := []hubJSON{}
	for _, h := range x.door.server.Hubs() {
		out = append(out, hubJSON{h.Name(), h.HostNames(), h.Public(), h.Stats()})
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
	return x.reply(map[string]string{"hub": x.hub.Name(), "policy": x.name, "connectionString": text})
}
