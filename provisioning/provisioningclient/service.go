package provisioningclient

import (
	"context"
	"maps"
	"net/http"
	"net/url"
	"slices"

	"github.com/isthmus-io/isthmus/hub/caller"
)

// Service is what a service tells of itself.
type Service struct {
	Name      string              `json:"name"`
	IDScope   string              `json:"idScope"`
	HostNames []string            `json:"hostNames"`
	Hubs      []LinkedHub         `json:"linkedHubs"`
	Policies  map[string][]string `json:"policies"` // rights by name
}

// LinkedHub is a hub it assigns devices to.
type LinkedHub struct {
	HostName string `json:"hostName"`
	Weight   int    `json:"allocationWeight"`
	Here     bool   `json:"here"` // of the same process; others were linked by connection string
}

// Service reads it.
func (c *Client) Service(ctx context.Context) (Service, error) {
	var out Service
	err := c.call(ctx, http.MethodGet, "/isthmus/v1/provisioning", "", nil, &out)
	return out, err
}

// LinkHub links a hub elsewhere by the connection string of one of its policies, or, when it is empty, changes the weight of a linked one.
func (c *Client) LinkHub(ctx context.Context, host, connection string, weight int) error {
	return c.call(ctx, http.MethodPut, "/isthmus/v1/linkedhubs/"+url.PathEscape(host), "", map[string]any{"connectionString": connection, "allocationWeight": weight}, nil)
}

// UnlinkHub takes a hub elsewhere away; one of the same process gets its weight of 1 back.
func (c *Client) UnlinkHub(ctx context.Context, host string) error {
	return c.call(ctx, http.MethodDelete, "/isthmus/v1/linkedhubs/"+url.PathEscape(host), "", nil, nil)
}

// Policy is a policy without its keys.
type Policy struct {
	Name   string   `json:"name"`
	Rights []string `json:"rights"`
}

// Policies lists them by name.
func (c *Client) Policies(ctx context.Context) ([]Policy, error) {
	s, err := c.Service(ctx)
	var out []Policy
	for _, name := range slices.Sorted(maps.Keys(s.Policies)) {
		out = append(out, Policy{name, s.Policies[name]})
	}
	return out, err
}

// PolicyConnectionString returns the secret of a policy; over the socket only.
func (c *Client) PolicyConnectionString(ctx context.Context, policy string) (string, error) {
	path, query, err := c.policy(ctx, policy)
	if err != nil {
		return "", err
	}
	var out struct{ ConnectionString string }
	_, err = c.caller.Call(ctx, caller.Request{Method: http.MethodGet, Path: path, Query: query}, &out)
	return out.ConnectionString, err
}

// RenewPolicyKey makes a new key in place of a policy's primary or secondary one.
func (c *Client) RenewPolicyKey(ctx context.Context, policy, which string) error {
	path, query, err := c.policy(ctx, policy)
	if err != nil {
		return err
	}
	_, err = c.caller.Call(ctx, caller.Request{Method: http.MethodPost, Path: path + "/keys", Query: query, Body: map[string]string{"renew": which}}, nil)
	return err
}

// policy is the path of a policy. Over the socket hubs have policies under the same path, so the service has to be named.
func (c *Client) policy(ctx context.Context, name string) (string, url.Values, error) {
	path := "/isthmus/v1/policies/" + url.PathEscape(name)
	if !c.local {
		return path, nil, nil
	}
	s, err := c.Service(ctx)
	return path, url.Values{"hub": {s.Name}}, err
}
