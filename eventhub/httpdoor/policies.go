package httpdoor

import (
	"net/http"
	"strings"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
)

// policyJSON is a policy without its keys.
type policyJSON struct {
	Name     string   `json:"name"`
	EventHub string   `json:"eventHub,omitempty"`
	Rights   []string `json:"rights"`
	Declared bool     `json:"declared"`
}

func policyOf(p eventhub.Policy) policyJSON {
	return policyJSON{p.Name, p.EventHub, p.Rights.Names(), p.Declared}
}

func policiesOf(list []eventhub.Policy) []policyJSON {
	out := []policyJSON{}
	for _, p := range list {
		out = append(out, policyOf(p))
	}
	return out
}

func listPolicies(x *exchange) error {
	list, err := x.namespace.Policies(x.eventHub())
	if err != nil {
		return err
	}
	x.write(http.StatusOK, policiesOf(list))
	return nil
}

// policy is the name of the path's policy.
func (x *exchange) policy() string { return x.args[len(x.args)-1] }

func createPolicy(x *exchange) error {
	var in struct {
		Rights []string `json:"rights"`
	}
	if err := x.decode(&in); err != nil {
		return err
	}
	var rights eventhub.Right
	for _, name := range in.Rights {
		r, ok := rightOf(name)
		if !ok {
			return fault.Newf("httpdoor.createPolicy", fault.Invalid, "%.40q is no right", name).Advise("rights are Send, Listen and Manage")
		}
		rights |= r
	}
	p, err := x.namespace.CreatePolicy(x.Context(), x.eventHub(), x.policy(), rights)
	if err != nil {
		return err
	}
	x.write(http.StatusCreated, policyOf(p))
	return nil
}

func rightOf(name string) (eventhub.Right, bool) {
	for _, r := range []eventhub.Right{eventhub.Send, eventhub.Listen, eventhub.Manage} {
		if strings.EqualFold(name, r.String()) {
			return r, true
		}
	}
	return 0, false
}

func deletePolicy(x *exchange) error {
	if err := x.namespace.DeletePolicy(x.Context(), x.eventHub(), x.policy()); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

func renewPolicyKey(x *exchange) error {
	var in struct {
		Renew eventhub.Which `json:"renew"`
	}
	if err := x.decode(&in); err != nil {
		return err
	}
	if err := x.namespace.RenewPolicyKey(x.Context(), x.eventHub(), x.policy(), in.Renew, x.who()); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}

// showKeys gives keys and connection strings; for an event hub that has no policy of the name, of that of the namespace.
func showKeys(x *exchange) error {
	hub, policy := x.eventHub(), x.policy()
	first, err := x.namespace.ConnectionString(hub, policy, eventhub.Primary)
	if err != nil {
		return err
	}
	second, err := x.namespace.ConnectionString(hub, policy, eventhub.Secondary)
	if err != nil {
		return err
	}
	x.w.Header().Set("Cache-Control", "no-store")
	x.write(http.StatusOK, map[string]string{
		"primaryKey": first.Key, "secondaryKey": second.Key, "primaryConnectionString": first.String(), "secondaryConnectionString": second.String(),
	})
	return nil
}
