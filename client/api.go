package client

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// Plural returns how a kind stands in a path: "endpoints" for PrivateEndpoint, else its name in lower case in the plural.
func Plural(k resource.Kind) string {
	switch k {
	case resource.KindPrivateEndpoint:
		return "endpoints"
	case resource.KindAccessPolicy:
		return "accesspolicies"
	default:
	}
	return strings.ToLower(string(k)) + "s"
}

// Version asks the server what it is. It needs no token.
func (c *Client) Version(ctx context.Context) (v Version, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: "/v1/version", into: &v})
	return v, err
}

// WhoAmI returns who the token belongs to.
func (c *Client) WhoAmI(ctx context.Context) (p Principal, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: "/v1/whoami", into: &p})
	return p, err
}

// Apply makes or changes nouns, all or nothing. Applying what already holds changes nothing.
func (c *Client) Apply(ctx context.Context, objects []resource.Object, opt ApplyOptions) ([]Change, error) {
	var reply struct {
		Changes []Change `json:"changes"`
	}
	body := struct {
		Objects []resource.Object `json:"objects"`
		DryRun  bool              `json:"dryRun,omitempty"`
		Reason  string            `json:"reason,omitempty"`
	}{objects, opt.DryRun, opt.Reason}
	err := c.do(ctx, request{method: http.MethodPost, path: "/v1/apply", body: body, into: &reply})
	return reply.Changes, err
}

// List returns the nouns of a kind the caller may see.
func (c *Client) List(ctx context.Context, kind resource.Kind, f Filter) ([]resource.Object, error) {
	var reply struct {
		Items []json.RawMessage `json:"items"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/" + Plural(kind), query: values("tenant", f.Tenant, "scope", f.Scope), into: &reply})
	if err != nil {
		return nil, err
	}
	out := make([]resource.Object, 0, len(reply.Items))
	for _, raw := range reply.Items {
		o, err := decode(kind, raw)
		if err != nil {
			return nil, err
		}
		out = append(out, o)
	}
	return out, nil
}

// Get returns one noun.
func (c *Client) Get(ctx context.Context, key resource.Key) (resource.Object, error) {
	var raw json.RawMessage
	if err := c.do(ctx, request{method: http.MethodGet, path: objectPath(key), into: &raw}); err != nil {
		return nil, err
	}
	return decode(key.Kind, raw)
}

// Delete removes one noun. The reason stands in the audit record.
func (c *Client) Delete(ctx context.Context, key resource.Key, reason string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: objectPath(key), query: values("reason", reason)})
}

// Connections lists the connections of which the caller is a side.
func (c *Client) Connections(ctx context.Context, f Filter) ([]Connection, error) {
	var reply struct {
		Items []Connection `json:"items"`
	}
	q := values("tenant", f.Tenant, "scope", f.Scope, "state", string(f.State))
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/connections", query: q, into: &reply})
	return reply.Items, err
}

// Decide approves, rejects or removes an endpoint's connection; only the service's side may.
func (c *Client) Decide(ctx context.Context, endpoint resource.Key, d resource.Decision, reason string) (v Connection, err error) {
	body := struct {
		Decision resource.Decision `json:"decision"`
		Reason   string            `json:"reason,omitempty"`
	}{d, reason}
	err = c.do(ctx, request{method: http.MethodPost, path: objectPath(endpoint) + "/decision", body: body, into: &v})
	return v, err
}

// DecideContract accepts, rejects or withdraws a contract; either side of it may withdraw, the side it is with accepts and rejects.
func (c *Client) DecideContract(ctx context.Context, contract resource.Key, d ContractDecision) (*resource.Contract, error) {
	n := &resource.Contract{}
	err := c.do(ctx, request{method: http.MethodPost, path: objectPath(contract) + "/decision", body: d, into: n})
	return n, err
}

// Tokens lists API tokens, without their text.
func (c *Client) Tokens(ctx context.Context) ([]Token, error) {
	var reply struct {
		Items []Token `json:"items"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/tokens", into: &reply})
	return reply.Items, err
}

// CreateToken makes an API token; secret is its text, shown this once.
func (c *Client) CreateToken(ctx context.Context, r TokenRequest) (secret string, t Token, err error) {
	var reply struct {
		Secret string `json:"secret"`
		Token  Token  `json:"token"`
	}
	err = c.do(ctx, request{method: http.MethodPost, path: "/v1/tokens", body: r, into: &reply})
	return reply.Secret, reply.Token, err
}

// RevokeToken ends an API token at once.
func (c *Client) RevokeToken(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: "/v1/tokens/" + id})
}

// CreateJoinToken makes a token with which processes join, each once; one when nothing else is asked for.
func (c *Client) CreateJoinToken(ctx context.Context, r JoinTokenRequest) (t JoinToken, err error) {
	body := struct {
		For     string `json:"for"`
		Tenant  string `json:"tenant,omitempty"`
		Network string `json:"network,omitempty"`
		Name    string `json:"name,omitempty"`
		TTL     string `json:"ttl,omitempty"`
		Uses    int    `json:"uses,omitempty"`

		EphemeralAfter string `json:"ephemeralAfter,omitempty"`
	}{For: r.For, Tenant: r.Tenant, Network: r.Network, Name: r.Name, Uses: r.Uses}
	if r.TTL > 0 {
		body.TTL = r.TTL.String()
	}
	if r.EphemeralAfter > 0 {
		body.EphemeralAfter = r.EphemeralAfter.String()
	}
	err = c.do(ctx, request{method: http.MethodPost, path: "/v1/join-tokens", body: body, into: &t})
	return t, err
}

// JoinTokens lists join tokens, without their text; a filter's scope is the network.
func (c *Client) JoinTokens(ctx context.Context, f Filter) ([]JoinTokenView, error) {
	var reply struct {
		Items []JoinTokenView `json:"items"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/join-tokens", query: values("tenant", f.Tenant, "scope", f.Scope), into: &reply})
	return reply.Items, err
}

// RevokeJoinToken ends a join token before it is used. The reason stands in the audit record.
func (c *Client) RevokeJoinToken(ctx context.Context, id, reason string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: "/v1/join-tokens/" + id, query: values("reason", reason)})
}

func objectPath(k resource.Key) string { return "/v1/" + Plural(k.Kind) + "/" + k.Path() }

// values builds a query of the pairs whose value is not empty.
func values(pairs ...string) url.Values {
	q := url.Values{}
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			q.Set(pairs[i], pairs[i+1])
		}
	}
	return q
}

func decode(kind resource.Kind, raw []byte) (resource.Object, error) {
	o, ok := resource.New(kind)
	if !ok {
		return nil, fault.Newf("client.decode", fault.Invalid, "%q is not a kind", kind)
	}
	if err := json.Unmarshal(raw, o); err != nil {
		return nil, fault.Newf("client.decode", fault.Invalid, "the server's %s cannot be read", kind).Because(err).
			Advise("client and server are of different versions: isthmus version")
	}
	return o, nil
}
