package bearer

import (
	"context"
	"strings"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/signin"
)

// Audience is whom the tokens are for that SDKs of Event Hubs ask for.
const Audience = "https://eventhubs.azure.net/"

// Config says whose tokens count. Issuer must be given; everything else works as it is.
type Config struct {
	Issuer   string // exactly as in its tokens
	Audience string // Audience when empty; a slash at its end makes no difference
	CA       string // PEM the provider is verified by; the machine's own roots when empty
	// Claim names the claim that lists rights; "roles" when empty. Its values are Send, Listen and Manage, or Azure's names for the same:
	// Azure Event Hubs Data Sender, Data Receiver and Data Owner.
	Claim string
	// Rights are what every token gives that is good, also without that claim.
	Rights eventhub.Right
	// Names are the full names of the namespaces meant; nil for all.
	Names []string

	SignIn signin.Config
}

// Verifier checks tokens.
type Verifier struct {
	cfg       Config
	providers []signin.Provider // the same one, by each spelling of the audience
	verifier  *signin.Verifier
}

// New returns a Verifier that has asked nobody yet. Invalid for an issuer that is no https URL.
func New(cfg Config, clk clock.Clock) (*Verifier, error) {
	if err := signin.CheckURL(cfg.Issuer); err != nil {
		return nil, err
	}
	if cfg.Audience == "" {
		cfg.Audience = Audience
	}
	if cfg.Claim == "" {
		cfg.Claim = "roles"
	}
	v := &Verifier{cfg: cfg, verifier: signin.NewVerifier(cfg.SignIn, clk)}
	plain := strings.TrimSuffix(cfg.Audience, "/")
	for _, audience := range []string{plain + "/", plain} {
		v.providers = append(v.providers, signin.Provider{Name: "event hubs for " + audience, Issuer: cfg.Issuer, ClientID: audience, CA: cfg.CA, Access: true})
	}
	return v, nil
}

// Check is eventhub.Config.Tokens.
func (v *Verifier) Check(ctx context.Context, namespace eventhub.Spec, token string) (eventhub.Identity, error) {
	if !v.means(namespace.Name) {
		return eventhub.Identity{}, fault.New("bearer.Check", fault.Unauthenticated, "InvalidToken: This namespace takes no tokens of an identity provider.").
			Advise("use a policy's connection string")
	}
	var claims *signin.Claims
	var err error
	for _, p := range v.providers {
		if claims, err = v.verifier.Verify(ctx, p, token); err == nil || fault.KindOf(err) != fault.Unauthenticated {
			break
		}
	}
	if fault.KindOf(err) == fault.Unauthenticated && err != nil {
		return eventhub.Identity{}, fault.New("bearer.Check", fault.Unauthenticated, "InvalidToken: "+fault.Message(err)).
			Advise("ask the identity provider for a token for %s", v.cfg.Audience).Because(err)
	}
	if err != nil {
		return eventhub.Identity{}, err
	}
	out := eventhub.Identity{Who: claims.Subject, Rights: v.cfg.Rights, Expires: claims.Expires}
	for _, name := range claims.Texts(v.cfg.Claim) {
		out.Rights |= rightOf(name)
	}
	for _, name := range []string{"appid", "azp", "client_id"} {
		if app := claims.Texts(name); len(app) == 1 && app[0] != "" {
			out.Who = app[0] + " (" + claims.Subject + ")"
			break
		}
	}
	return out, nil
}

func (v *Verifier) means(namespace string) bool {
	if v.cfg.Names == nil {
		return true
	}
	for _, n := range v.cfg.Names {
		if n == namespace {
			return true
		}
	}
	return false
}

// rightOf reads a right, 0 for what is none.
func rightOf(name string) eventhub.Right {
	name = strings.TrimPrefix(name, "Azure Event Hubs Data ")
	for right, names := range map[eventhub.Right][]string{
		eventhub.Send: {"Send", "Sender"}, eventhub.Listen: {"Listen", "Receiver"}, eventhub.Manage: {"Manage", "Owner"},
	} {
		for _, n := range names {
			if strings.EqualFold(n, name) {
				return right
			}
		}
	}
	return 0
}
