package httpdoor

import "github.com/isthmus-io/isthmus/hub"

const maxKeysBody = 1 << 10

// renewJSON asks for a new key.
type renewJSON struct {
	Renew hub.Which `json:"renew"` // primary, secondary or swap
}

// renewedJSON is the answer. It shows no key.
type renewedJSON struct {
	Hub     string    `json:"hub"`
	Policy  string    `json:"policy,omitempty"`
	Device  string    `json:"deviceId,omitempty"`
	Module  string    `json:"moduleId,omitempty"`
	Renewed hub.Which `json:"renewed"`
	Cut     int       `json:"cut"` // connections of devices that had used a key which is gone
}

// policyJSON is a policy as it is listed, without its keys.
type policyJSON struct {
	Name   string   `json:"name"`
	Rights []string `json:"rights"`
}

func listPolicies(x *exchange) error {
	out := []policyJSON{}
	for _, p := range x.hub.Policies() {
		out = append(out, policyJSON{p.Name, p.Rights.Names()})
	}
	return x.reply(out)
}

func renewPolicyKey(x *exchange) error {
	var in renewJSON
	if err := x.decode(maxKeysBody, &in); err != nil {
		return err
	}
	n, err := x.hub.RenewPolicyKey(x.Context(), x.name, in.Renew, x.who())
	if err != nil {
		return elsewhere(err)
	}
	return x.reply(renewedJSON{Hub: x.hub.Name(), Policy: x.name, Renewed: in.Renew, Cut: n})
}

func renewKey(x *exchange) error {
	var in renewJSON
	if err := x.decode(maxKeysBody, &in); err != nil {
		return err
	}
	n, err := x.hub.RenewKey(x.Context(), x.identity(), in.Renew, x.who())
	if err != nil {
		return err
	}
	return x.reply(renewedJSON{Hub: x.hub.Name(), Device: x.device, Module: x.module, Renewed: in.Renew, Cut: n})
}
