package client

import (
	"context"
	"net/http"
	"time"
)

// Person is what is known of a person of a tenant.
type Person struct {
	UID        string    `json:"uid"`
	Tenant     string    `json:"tenant"`
	Name       string    `json:"name"`
	Roles      []string  `json:"roles"`              // owner, network-admin, operator, approver, auditor
	Provider   string    `json:"provider,omitempty"` // the identity provider the person signs in at, whose claims give the roles
	Subject    string    `json:"subject,omitempty"`
	CreatedAt  time.Time `json:"createdAt"`
	CreatedBy  string    `json:"createdBy"`
	DisabledAt time.Time `json:"disabledAt,omitzero"`
	SignedInAt time.Time `json:"signedInAt,omitzero"`
}

// PersonRequest asks for a person who does not sign in at an identity provider.
type PersonRequest struct {
	Tenant string   `json:"tenant"`
	Name   string   `json:"name"`
	Roles  []string `json:"roles,omitempty"`
	Reason string   `json:"reason,omitempty"`
}

// People lists the people of a tenant; when it is empty the caller's own, which for the deployment are all.
func (c *Client) People(ctx context.Context, tenant string) ([]Person, error) {
	var reply struct {
		Items []Person `json:"items"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/people", query: values("tenant", tenant), into: &reply})
	return reply.Items, err
}

// Person returns one by uid.
func (c *Client) Person(ctx context.Context, uid string) (p Person, err error) {
	err = c.do(ctx, request{method: http.MethodGet, path: "/v1/people/" + uid, into: &p})
	return p, err
}

// CreatePerson makes a person, who can do nothing before somebody makes a token for him.
func (c *Client) CreatePerson(ctx context.Context, r PersonRequest) (p Person, err error) {
	err = c.do(ctx, request{method: http.MethodPost, path: "/v1/people", body: r, into: &p})
	return p, err
}

// RemovePerson forgets a person; tokens and grants end.
func (c *Client) RemovePerson(ctx context.Context, uid, reason string) error {
	return c.do(ctx, request{method: http.MethodDelete, path: "/v1/people/" + uid, query: values("reason", reason)})
}

// SetRoles gives a person exactly these roles.
func (c *Client) SetRoles(ctx context.Context, uid string, roles []string, reason string) (Person, error) {
	if roles == nil {
		roles = []string{}
	}
	return c.changePerson(ctx, uid, "roles", struct {
		Roles  []string `json:"roles"`
		Reason string   `json:"reason,omitempty"`
	}{roles, reason})
}

// DisablePerson keeps a person from everything; tokens and grants end.
func (c *Client) DisablePerson(ctx context.Context, uid, reason string) (Person, error) {
	return c.changePerson(ctx, uid, "disable", map[string]string{"reason": reason})
}

// EnablePerson lets a disabled person in again; what ended stays so.
func (c *Client) EnablePerson(ctx context.Context, uid, reason string) (Person, error) {
	return c.changePerson(ctx, uid, "enable", map[string]string{"reason": reason})
}

// LinkPerson says who a person is at an identity provider: the subject of his identity tokens.
func (c *Client) LinkPerson(ctx context.Context, uid, provider, subject, reason string) (Person, error) {
	return c.changePerson(ctx, uid, "link", map[string]string{"provider": provider, "subject": subject, "reason": reason})
}

func (c *Client) changePerson(ctx context.Context, uid, step string, body any) (p Person, err error) {
	err = c.do(ctx, request{method: http.MethodPost, path: "/v1/people/" + uid + "/" + step, body: body, into: &p})
	return p, err
}

// CreatePersonToken makes a token of a person: one's own, or the first one of somebody else. life is how long it is good, 90 days when 0.
func (c *Client) CreatePersonToken(ctx context.Context, uid, name string, life time.Duration) (secret string, t Token, err error) {
	body := struct {
		Name string `json:"name,omitempty"`
		TTL  string `json:"ttl,omitempty"`
	}{Name: name}
	if life > 0 {
		body.TTL = life.String()
	}
	var reply struct {
		Secret string `json:"secret"`
		Token  Token  `json:"token"`
	}
	err = c.do(ctx, request{method: http.MethodPost, path: "/v1/people/" + uid + "/tokens", body: body, into: &reply})
	return reply.Secret, reply.Token, err
}

// PersonTokens lists a person's tokens, without their text.
func (c *Client) PersonTokens(ctx context.Context, uid string) ([]Token, error) {
	var reply struct {
		Items []Token `json:"items"`
	}
	err := c.do(ctx, request{method: http.MethodGet, path: "/v1/people/" + uid + "/tokens", into: &reply})
	return reply.Items, err
}
