package client

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
)

// Session is one session: who, why, approved by whom, into what, from where, how long, how much, and why it ended.
type Session struct {
	ID         string         `json:"id"`
	Grant      string         `json:"grant,omitempty"`
	Target     string         `json:"target,omitempty"` // TENANT/NETWORK/NAME
	Tenant     string         `json:"tenant"`           // the target's
	Person     string         `json:"person"`           // NAME of TENANT
	Reason     string         `json:"reason,omitempty"` // the grant's
	ApprovedBy []string       `json:"approvedBy,omitempty"`
	Phase      session.Phase  `json:"phase"`
	Opened     time.Time      `json:"opened"`
	Ended      time.Time      `json:"ended,omitzero"`
	From       string         `json:"from,omitempty"`
	To         string         `json:"to,omitempty"`
	Sent       uint64         `json:"sent"`     // bytes from the person
	Received   uint64         `json:"received"` // bytes to the person
	End        session.End    `json:"end,omitempty"`
	Login      string         `json:"login,omitempty"`
	Recording  bool           `json:"recording,omitempty"` // a recording can be replayed
	Files      []session.File `json:"files,omitempty"`
	MoreFiles  int            `json:"moreFiles,omitempty"`
	Commands   []string       `json:"commands,omitempty"`
	Words      string         `json:"words,omitempty"`
	Agent      string         `json:"agent"` // SPIFFE id of the process that told of it
}

// SessionFilter narrows a list of sessions; empty fields let everything pass.
type SessionFilter struct {
	Tenant, Target, Person, Grant string
	Open                          bool
	Refused                       bool // those that were refused too
	Before                        time.Time
	Limit                         int // 100 when 0, at most 1000
}

// Sessions lists the caller's sessions, or those into targets of his tenant when his role is about others' access; opened last first.
func (c *Client) Sessions(ctx context.Context, f SessionFilter) ([]Session, error) {
	var reply struct {
		Items []Session `json:"items"`
	}
	q := values("tenant", f.Tenant, "target", f.Target, "person", f.Person, "grant", f.Grant)
	setFlags(q, map[string]bool{"open": f.Open, "refused": f.Refused})
	setPage(q, f.Before, f.Limit)
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/access/sessions", query: q, into: &reply})
	return reply.Items, err
}

// Recording opens the recording of a session. sealed: it is the encrypted file, whose keys the control plane does not have; otherwise it is asciicast v2.
// The caller closes it. A content that ends with an error other than io.EOF is not whole.
func (c *Client) Recording(ctx context.Context, id string) (content io.ReadCloser, sealed bool, err error) {
	if id == "" || strings.ContainsAny(id, "/.") {
		return nil, false, fault.Newf("client.Recording", fault.Invalid, "%q is no session's id", id).Advise("list sessions with: isthmus access sessions")
	}
	resp, err := c.stream(ctx, "/v1/access/sessions/"+id+"/recording")
	if err != nil {
		return nil, false, err
	}
	return resp.Body, resp.Header.Get("Content-Type") == "application/vnd.isthmus.recording", nil
}

// stream asks for something of any length, of the address that answered last and then of the others.
func (c *Client) stream(ctx context.Context, path string) (*http.Response, error) {
	var last error
	first := int(c.last.Load())
	for i := range c.servers {
		at := (first + i) % len(c.servers)
		s := c.servers[at]
		u := *s.base
		u.Path = path
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, u.String(), http.NoBody)
		if err != nil {
			return nil, fault.Wrap("client.stream", fault.Internal, err, "")
		}
		req.Header.Set("User-Agent", c.agent)
		if c.token != "" {
			req.Header.Set("Authorization", "Bearer "+c.token)
		}
		unbounded := *s.http // its length says how long it takes
		unbounded.Timeout = 0
		resp, err := unbounded.Do(req)
		if err != nil {
			if last = unreachable(ctx, s.base.Host, err); neverSent(err) && ctx.Err() == nil {
				continue
			}
			return nil, last
		}
		if resp.StatusCode == http.StatusOK {
			c.last.Store(int32(at))
			return resp, nil
		}
		reply, err := io.ReadAll(io.LimitReader(resp.Body, maxReply))
		_ = resp.Body.Close() // read, or given up
		if err != nil {
			return nil, unreachable(ctx, s.base.Host, err)
		}
		return nil, problem(s.base.Host, resp, reply)
	}
	return nil, last
}

// AccessExplanation is each condition in the order in which they are looked at.
type AccessExplanation struct {
	Target  string            `json:"target"`
	Person  string            `json:"person"`
	Grant   string            `json:"grant,omitempty"` // id of the grant it is about
	Open    bool              `json:"open"`            // the person would be let in now, as far as the control plane can tell
	Summary string            `json:"summary"`
	Next    string            `json:"next,omitempty"`
	Steps   []AccessCondition `json:"steps"`
	Refused []Session         `json:"refused,omitempty"` // the last refusals of the process that leads there
}

// AccessCondition is one condition and whether it holds.
type AccessCondition struct {
	What   string `json:"what"`
	Holds  bool   `json:"holds"`
	Detail string `json:"detail,omitempty"`
	Next   string `json:"next,omitempty"`
}

// WhyAccess explains why a person (the caller when empty) is let into a target or not, or what one grant does.
func (c *Client) WhyAccess(ctx context.Context, target, person, grantID string) (x AccessExplanation, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: "/v1/access/why", query: values("target", target, "person", person, "grant", grantID), into: &x})
	return x, err
}

// Webhook is what is known of a webhook; never its secret.
type Webhook struct {
	ID        string    `json:"id"`
	Tenant    string    `json:"tenant"`
	URL       string    `json:"url"`
	Events    []string  `json:"events"`
	CreatedAt time.Time `json:"createdAt"`
	CreatedBy string    `json:"createdBy"`
	State     string    `json:"state,omitempty"` // what became of the last delivery, in words
	Waiting   int       `json:"waiting"`         // deliveries that are tried again
}

// WebhookRequest asks for a webhook.
type WebhookRequest struct {
	Tenant string   `json:"tenant,omitempty"` // the caller's own when empty
	URL    string   `json:"url"`
	Events []string `json:"events,omitempty"` // all when empty
}

const webhooksPath = "/v1/access/webhooks"

// Webhooks lists the webhooks of the caller's reach.
func (c *Client) Webhooks(ctx context.Context) ([]Webhook, error) {
	var reply struct {
		Items []Webhook `json:"items"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: webhooksPath, into: &reply})
	return reply.Items, err
}

// CreateWebhook has events sent to an address; secret is what deliveries are signed with, shown this once.
func (c *Client) CreateWebhook(ctx context.Context, r WebhookRequest) (secret string, h Webhook, err error) {
	var reply struct {
		Secret  string  `json:"secret"`
		Webhook Webhook `json:"webhook"`
	}
	err = c.do(ctx, request{method: http.MethodPost, path: webhooksPath, body: r, into: &reply})
	return reply.Secret, reply.Webhook, err
}

// DeleteWebhook stops sending events to an address.
func (c *Client) DeleteWebhook(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: webhooksPath + "/" + id})
}

// TestWebhook sends an event to try an address, and waits for the receiver's answer.
func (c *Client) TestWebhook(ctx context.Context, id string) error {
	return c.do(ctx, request{method: http.MethodPost, path: fmt.Sprintf("%s/%s/test", webhooksPath, id), body: struct{}{}})
}
