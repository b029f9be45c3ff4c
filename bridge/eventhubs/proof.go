package eventhubs

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/wire/amqp/client"
)

// token is what is put to $cbs.
type token struct {
	kind, text string // text is secret
	expires    time.Time
}

// proof makes tokens for a place.
type proof interface {
	token(ctx context.Context, at place) (token, error)
}

// keyLife is how long the tokens are good that we sign.
const keyLife = time.Hour

// keyProof has a policy's key.
type keyProof struct {
	policy, key string
	asText      bool // the key's bytes are its text, as in connection strings of Event Hubs
	clk         clock.Clock
}

func (p keyProof) token(_ context.Context, at place) (token, error) {
	t := token{kind: client.TokenSAS, expires: p.clk.Now().Add(keyLife)}
	var err error
	if p.asText || at.entity != messagesEvents { // the endpoint an IoT hub redirects to is an event hub like others
		t.text, err = sas.SignText("amqps://"+at.host+"/"+at.entity, p.key, p.policy, t.expires)
	} else {
		t.text, err = sas.Sign(at.host+"/"+at.entity, p.key, p.policy, t.expires)
	}
	return t, err
}

// identityProof has the bridge's identity.
type identityProof struct{ end *end.End }

func (p identityProof) token(ctx context.Context, at place) (token, error) {
	// For this service alone: another one could not use it in the bridge's name.
	t, err := p.end.Token(ctx, "https://"+at.host+"/")
	return token{client.TokenJWT, t.Text, t.Expires}, err
}

func readEventHubs(secret string) (sas.EventHubs, error) {
	c, err := sas.ParseEventHubs(secret)
	return c, fault.Wrap("eventhubs.New", fault.Invalid, err, "")
}

func readHub(secret string) (sas.ConnectionString, error) {
	c, err := sas.ParseConnectionString(secret)
	if err == nil && c.Policy == "" {
		err = fault.New("eventhubs.New", fault.Invalid, "the secret is the connection string of a device").Advise("use that of a policy with the right to read, such as service")
	}
	return c, err
}
