package client

import (
	"context"
	"net/http"
	"net/netip"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/resource"
)

// NameExplanation is how the resolvers of a network decide a question, and what the control plane knows beside that.
type NameExplanation struct {
	Network   string           `json:"network"`
	Name      string           `json:"name"`
	Type      string           `json:"type"`
	Steps     []NameStep       `json:"steps"` // what had a say, in order
	Notes     []NameStep       `json:"notes"` // what could have had a say and has not
	Resolvers []netip.AddrPort `json:"resolvers,omitempty"`
}

// NameStep is one thing that had a say.
type NameStep struct {
	What   string `json:"what"`
	Detail string `json:"detail"`
	Next   string `json:"next,omitempty"` // what to do about it
}

// WhyName says how a network's resolvers decide a name; the type is A when empty.
func (c *Client) WhyName(ctx context.Context, network resource.Key, name, qtype string) (x NameExplanation, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: objectPath(network) + "/why", query: values("name", name, "type", qtype), into: &x})
	return x, err
}

// GatewayQuestion is a connection somebody asks about.
type GatewayQuestion struct {
	Source   netip.Addr
	Name     string // that the client sends (SNI); "" is none
	Port     uint16 // that it dials; 0: any
	Listener string // where the port does not tell
}

// GatewayExplanation is what a gateway does with a connection, and why.
type GatewayExplanation struct {
	Gateway  string     `json:"gateway"`
	Source   netip.Addr `json:"source"`
	Name     string     `json:"name,omitempty"`
	Listener string     `json:"listener,omitempty"`
	Port     uint16     `json:"port,omitempty"`

	Allowed bool   `json:"allowed"`
	Reason  string `json:"reason,omitempty"` // one short word when it is refused, the same as in logs and metrics
	Summary string `json:"summary"`
	Next    string `json:"next,omitempty"`

	Rule    string         `json:"rule,omitempty"` // the one that decides, as allowlist and rule
	Rules   []RuleAround   `json:"rules,omitempty"`
	Omitted int            `json:"omitted,omitempty"` // rules around the source that are not in Rules
	Route   *RouteTaken    `json:"route,omitempty"`
	Limits  []LimitInForce `json:"limits,omitempty"`
	Steps   []string       `json:"steps"` // the chain in words

	CarriedBy []string `json:"carriedBy"` // processes
	Notes     []string `json:"notes"`
}

// RuleAround is one rule around the source.
type RuleAround struct {
	Allowlist string              `json:"allowlist"`
	Owner     string              `json:"owner,omitempty"`
	Rule      string              `json:"rule"`
	Action    resource.RuleAction `json:"action"`
	Range     netip.Prefix        `json:"range"`
	Note      string              `json:"note,omitempty"`
	Expires   time.Time           `json:"expires,omitzero"`
	Holds     bool                `json:"holds"`
	Decides   bool                `json:"decides,omitempty"`
	Why       string              `json:"why"`
}

// RouteTaken is the route a name leads to.
type RouteTaken struct {
	Number  int      `json:"number"`
	Names   []string `json:"names,omitempty"`
	To      string   `json:"to"`
	Port    uint16   `json:"port"`
	Targets []string `json:"targets,omitempty"`
	Problem string   `json:"problem,omitempty"`
}

// LimitInForce is a limit that a connection counts against.
type LimitInForce struct {
	On string `json:"on"`
	resource.Limit
}

// WhyGateway says what a gateway does with a connection.
func (c *Client) WhyGateway(ctx context.Context, gateway resource.Key, q GatewayQuestion) (x GatewayExplanation, err error) {
	v := values("source", q.Source.String(), "name", q.Name, "listener", q.Listener)
	if q.Port != 0 {
		v.Set("port", strconv.Itoa(int(q.Port)))
	}
	err = c.do(ctx, request{method: http.MethodGet, path: objectPath(gateway) + "/why", query: v, into: &x})
	return x, err
}
