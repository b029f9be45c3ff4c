package eventhubclient

import (
	"context"
	"net/http"
)

// Policy is a policy without its keys.
type Policy struct {
	Name     string   `json:"name"`
	EventHub string   `json:"eventHub,omitempty"` // the only one it opens; empty for a policy of the namespace
	Rights   []string `json:"rights"`
	Declared bool     `json:"declared"` // by the namespace's resource
}

// Keys are a policy's, with what SDKs are given. They are secrets.
type Keys struct {
	Primary                   string `json:"primaryKey"`
	Secondary                 string `json:"secondaryKey"`
	PrimaryConnectionString   string `json:"primaryConnectionString"`
	SecondaryConnectionString string `json:"secondaryConnectionString"`
}

// Which of a policy's keys is meant. Swap is for RenewPolicyKey only.
const (
	Primary   = "primary"
	Secondary = "secondary"
	Swap      = "swap"
)

// policies is where the policies of an event hub are, or those of the namespace when it is empty.
func policies(eventHub string, more ...string) string {
	if eventHub == "" {
		return path(append([]string{"$policies"}, more...)...)
	}
	return path(append([]string{eventHub, "policies"}, more...)...)
}

// Policies lists the policies of an event hub, or those of the namespace when eventHub is empty, by name; so it is below.
func (c *Client) Policies(ctx context.Context, eventHub string) ([]Policy, error) {
	var out []Policy
	err := c.call(ctx, http.MethodGet, policies(eventHub), nil, &out)
	return out, err
}

// CreatePolicy makes a policy with rights among Send, Listen and Manage. Conflict when it is there.
func (c *Client) CreatePolicy(ctx context.Context, eventHub, name string, rights []string) (Policy, error) {
	var out Policy
	err := c.call(ctx, http.MethodPut, policies(eventHub, name), map[string][]string{"rights": rights}, &out)
	return out, err
}

// DeletePolicy removes one; whoever came by it is out.
func (c *Client) DeletePolicy(ctx context.Context, eventHub, name string) error {
	return c.call(ctx, http.MethodDelete, policies(eventHub, name), nil, nil)
}

// RenewPolicyKey makes a new key in place of the policy's primary or secondary one, or swaps the two.
func (c *Client) RenewPolicyKey(ctx context.Context, eventHub, name, which string) error {
	return c.call(ctx, http.MethodPost, policies(eventHub, name, "keys"), map[string]string{"renew": which}, nil)
}

// PolicyKeys returns the keys of a policy; over the socket only. For an event hub that has no policy of this name it is that of the
// namespace, and the connection strings are for the event hub alone.
func (c *Client) PolicyKeys(ctx context.Context, eventHub, name string) (Keys, error) {
	var out Keys
	err := c.call(ctx, http.MethodGet, policies(eventHub, name, "keys"), nil, &out)
	return out, err
}
