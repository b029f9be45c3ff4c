package hubclient

import (
	"context"
	"net/http"
	"net/url"
	"slices"
)

// Hub is one of the hubs and provisioning services a process serves.
type Hub struct {
	Name         string   `json:"name"`
	HostNames    []string `json:"hostNames"`
	Public       bool     `json:"public"`
	Provisioning bool     `json:"provisioning,omitempty"`
	EventHubs    bool     `json:"eventHubs,omitempty"` // a namespace of event hubs
	Storage      bool     `json:"storage,omitempty"`   // a blob service
	Connected    int      `json:"connected"`
	Messages     int64    `json:"messages"`
	PerSecond    float64  `json:"perSecond"`
}

// Hubs lists them; over the socket only.
func (c *Client) Hubs(ctx context.Context) ([]Hub, error) {
	var out []Hub
	err := c.call(ctx, http.MethodGet, "/isthmus/v1/hubs", nil, "", nil, &out)
	return out, err
}

// The keys of a policy or device, for those calls that want one named; Swap is for renewals, and makes them change places.
const (
	Primary   = "primary"
	Secondary = "secondary"
	Swap      = "swap"
)

// PolicyConnectionString returns the secret of a policy with its primary key, also when key is empty, or its secondary; over the socket only.
func (c *Client) PolicyConnectionString(ctx context.Context, policy, key string) (string, error) {
	s, err := c.secrets(ctx, policy, key)
	return s.ConnectionString, err
}

// EventHubsConnectionString is PolicyConnectionString for SDKs of Event Hubs, which read the hub's built-in endpoint with it.
func (c *Client) EventHubsConnectionString(ctx context.Context, policy, key string) (string, error) {
	s, err := c.secrets(ctx, policy, key)
	return s.EventHubsConnectionString, err
}

type policySecrets struct{ ConnectionString, EventHubsConnectionString string }

func (c *Client) secrets(ctx context.Context, policy, key string) (out policySecrets, err error) {
	q := url.Values{}
	if key != "" {
		q.Set("key", key)
	}
	err = c.call(ctx, http.MethodGet, "/isthmus/v1/policies/"+url.PathEscape(policy), q, "", nil, &out)
	return out, err
}

// Policy is a policy without its keys.
type Policy struct {
	Name   string   `json:"name"`
	Rights []string `json:"rights"`
}

// Policies lists a hub's policies; over the socket, or with the connection string of the owner's policy.
func (c *Client) Policies(ctx context.Context) ([]Policy, error) {
	var out []Policy
	err := c.call(ctx, http.MethodGet, "/isthmus/v1/policies", nil, "", nil, &out)
	return out, err
}

// RenewPolicyKey makes a new key in place of Primary or Secondary, or swaps them; as with Policies. What used a key that is gone is cut;
// cut is how many devices that were.
func (c *Client) RenewPolicyKey(ctx context.Context, policy, which string) (cut int, err error) {
	return c.renew(ctx, "/isthmus/v1/policies/"+url.PathEscape(policy)+"/keys", which)
}

// RenewDeviceKey is RenewPolicyKey for the own keys of a device or a module; it needs the right to change devices.
func (c *Client) RenewDeviceKey(ctx context.Context, name, which string) (cut int, err error) {
	return c.renew(ctx, identity("/isthmus/v1/devices/", name)+"/keys", which)
}

func (c *Client) renew(ctx context.Context, path, which string) (int, error) {
	var out struct{ Cut int }
	err := c.call(ctx, http.MethodPost, path, nil, "", map[string]string{"renew": which}, &out)
	return out.Cut, err
}

// HostName returns the public name of the hub, which over the socket has to be asked for.
func (c *Client) HostName(ctx context.Context) (string, error) {
	if c.cfg.Socket == "" {
		return c.cfg.Connection.HostName, nil
	}
	list, err := c.Hubs(ctx)
	if err != nil {
		return "", err
	}
	list = slices.DeleteFunc(list, func(h Hub) bool { return h.Provisioning || h.EventHubs || h.Storage })
	for _, h := range list {
		if len(list) == 1 || h.Name == c.cfg.Hub || h.HostNames[0] == c.cfg.Hub {
			return h.HostNames[0], nil
		}
	}
	// The hub itself says best which names there are.
	_, err = c.Device(ctx, "-")
	return "", err
}
