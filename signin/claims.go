package signin

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const (
	// MaxAge is how old an identity token may be.
	MaxAge = 10 * time.Minute
	// Ahead is how far a provider's clock may be ahead of ours.
	Ahead = 2 * time.Minute

	maxSubject = 255 // OpenID Connect Core 1.0, section 2
	maxTexts   = 1000
)

// Claims are what a token says, once it was verified.
type Claims struct {
	Issuer   string
	Subject  string
	Nonce    string // empty for a token that answers to none
	IssuedAt time.Time
	Expires  time.Time
	// Signed is all of the token but its signature. Two tokens with the same are one: what stands around it can be written in several ways.
	Signed string

	audience []string
	party    string
	all      map[string]any
}

func readClaims(payload []byte) (*Claims, error) {
	c := &Claims{}
	d := json.NewDecoder(strings.NewReader(string(payload)))
	d.UseNumber()
	if err := d.Decode(&c.all); err != nil || c.all == nil {
		return nil, refuse("its claims are no JSON object").Because(err)
	}
	c.Issuer, c.Subject, c.Nonce, c.party = c.text("iss"), c.text("sub"), c.text("nonce"), c.text("azp")
	c.audience = c.Texts("aud")
	c.IssuedAt, c.Expires = c.moment("iat"), c.moment("exp")
	return c, nil
}

func (c *Claims) text(name string) string {
	s, _ := c.all[name].(string)
	return s
}

// moment reads a NumericDate (RFC 7519 2): seconds, perhaps with a fraction. Zero when there is none.
func (c *Claims) moment(name string) time.Time {
	n, _ := c.all[name].(json.Number)
	f, err := n.Float64()
	if err != nil || f <= 0 || f > 1<<40 {
		return time.Time{}
	}
	return time.Unix(int64(f), 0).UTC()
}

// Texts returns the values of a claim that is a text or a list of texts; nothing for any other. A dot leads into an object, unless a claim
// is called so: "realm_access.roles".
func (c *Claims) Texts(name string) []string {
	v, ok := c.all[name]
	for at, rest := any(c.all), name; !ok && rest != ""; {
		var step string
		step, rest, _ = strings.Cut(rest, ".")
		inner, _ := at.(map[string]any)
		if at = inner[step]; rest == "" {
			v = at
		}
	}
	switch v := v.(type) {
	case string:
		return []string{v}
	case []any:
		var out []string
		for _, one := range v[:min(len(v), maxTexts)] {
			if s, ok := one.(string); ok {
				out = append(out, s)
			}
		}
		return out
	}
	return nil
}

// refuse is a fault about a token. Its words may be read by whoever sent it.
func refuse(format string, args ...any) *fault.Error {
	return fault.New("signin.Verify", fault.Unauthenticated, "the identity token is refused: "+fmt.Sprintf(format, args...)).
		Advise("sign in again: isthmus login")
}

// check judges the claims (OpenID Connect Core 1.0, 3.1.3.7; RFC 7519 4.1).
func (c *Claims) check(p Provider, now time.Time) error {
	switch {
	case c.Issuer != p.Issuer:
		return refuse("it was issued by %q, not by %s", clip(c.Issuer), p.Issuer)
	case !slices.Contains(c.audience, p.ClientID):
		return refuse("it is for %q, not for the client %s", clip(strings.Join(c.audience, ", ")), p.ClientID)
	case len(c.audience) > 1 && c.party == "" && !p.Access:
		return refuse("it is for several clients, and does not say for which it was made (azp)")
	case c.party != "" && c.party != p.ClientID && !p.Access:
		return refuse("it was made for the client %q, not for %s", clip(c.party), p.ClientID)
	case c.Subject == "" || len(c.Subject) > maxSubject:
		return refuse("it does not say who it is about (sub)")
	case c.Expires.IsZero():
		return refuse("it does not say when it ends (exp)")
	case !now.Before(c.Expires):
		return refuse("it ended at %s", c.Expires.Format(time.RFC3339))
	case c.IssuedAt.IsZero():
		return refuse("it does not say when it was issued (iat)")
	case now.Sub(c.IssuedAt) > MaxAge && !p.Access:
		return refuse("it was issued at %s, more than %d minutes ago", c.IssuedAt.Format(time.RFC3339), int(MaxAge.Minutes()))
	case c.IssuedAt.Sub(now) > Ahead:
		return refuse("it was issued at %s, which is in the future", c.IssuedAt.Format(time.RFC3339)).Advise("compare the clocks of the provider and the control plane")
	case c.moment("nbf").Sub(now) > Ahead:
		return refuse("it is not valid before %s", c.moment("nbf").Format(time.RFC3339)).Advise("compare the clocks of the provider and the control plane")
	}
	return nil
}

// Roles returns what the claims give by a provider's rules, each once, in the order of resource.TenantRoles.
func Roles(spec *resource.IdentityProviderSpec, c *Claims) []resource.TenantRole {
	given := slices.Clone(spec.DefaultRoles)
	for _, r := range spec.Roles {
		if slices.Contains(c.Texts(r.Claim), r.Value) {
			given = append(given, r.Roles...)
		}
	}
	return slices.DeleteFunc(resource.TenantRoles(), func(r resource.TenantRole) bool { return !slices.Contains(given, r) })
}

// Names returns what a person may be called, the best first: the claim that the provider's rules name, or the usual ones.
func Names(spec *resource.IdentityProviderSpec, c *Claims) []string {
	claims := []string{"preferred_username", "email", "sub"}
	if spec.NameClaim != "" {
		claims = []string{spec.NameClaim}
	}
	var out []string
	for _, name := range claims {
		out = append(out, c.Texts(name)...)
	}
	return out
}
