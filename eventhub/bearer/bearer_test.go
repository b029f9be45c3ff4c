package bearer_test

import (
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventhub/bearer"
	et "github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/signin"
	"github.com/isthmus-io/isthmus/signin/signintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func start(t *testing.T, change func(*bearer.Config)) (*et.World, *signintest.Provider, *clock.Fake) {
	t.Helper()
	clk := clock.NewFake(time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC))
	p := signintest.Start(clk, true)
	t.Cleanup(p.Close)
	cfg := bearer.Config{Issuer: p.Issuer, CA: p.CA, SignIn: signin.Config{Private: true}}
	if change != nil {
		change(&cfg)
	}
	v, err := bearer.New(cfg, clk)
	if err != nil {
		t.Fatal(err)
	}
	return et.Start(t, et.Options{Clock: clk, Change: func(c *eventhub.Config) { c.Tokens = v.Check }}), p, clk
}

func TestTokensOfAProvider(t *testing.T) {
	w, p, clk := start(t, nil)
	for name, c := range map[string]struct {
		claims signintest.Claims
		rights eventhub.Right
		who    string
	}{
		"a sender":           {signintest.Claims{"roles": []string{"Send"}}, eventhub.Send, "s-1"},
		"in Azure's words":   {signintest.Claims{"roles": []string{"Azure Event Hubs Data Receiver", "Azure Event Hubs Data Sender", "something else"}}, eventhub.Send | eventhub.Listen, "s-1"},
		"an owner":           {signintest.Claims{"roles": "Azure Event Hubs Data Owner", "appid": "a-1"}, eventhub.EveryRight, "a-1 (s-1)"},
		"another client's":   {signintest.Claims{"roles": "Listen", "azp": "a-2"}, eventhub.Listen, "a-2 (s-1)"},
		"without a slash":    {signintest.Claims{"roles": "Listen", "aud": "https://eventhubs.azure.net"}, eventhub.Listen, "s-1"},
		"who may do nothing": {nil, 0, "s-1"},
	} {
		claims := signintest.Claims{"aud": bearer.Audience}
		for k, v := range c.claims {
			claims[k] = v
		}
		token := p.Token(claims)
		got, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, token)
		if err != nil || got.Rights != c.rights || got.Who != c.who || got.Path != "" || !got.Expires.Equal(clk.Now().Add(time.Hour)) {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	old := p.Token(signintest.Claims{"aud": bearer.Audience, "roles": "Send"})
	clk.Advance(59 * time.Minute)
	if _, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, old); err != nil {
		t.Errorf("an hour is not over: %v", err)
	}
	clk.Advance(time.Minute)
	if _, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, old); fault.KindOf(err) != fault.Unauthenticated || err == nil {
		t.Errorf("an hour is over: %v", err)
	}
	good := p.Token(signintest.Claims{"aud": bearer.Audience, "roles": "Send"})
	for name, token := range map[string]string{
		"another service's": p.Token(signintest.Claims{"roles": "Manage"}), "no token": "hello", "an empty one": "", "changed": signintest.Tampered(good, "roles", "Manage"),
		"another issuer's": p.Token(signintest.Claims{"aud": bearer.Audience, "iss": "https://elsewhere.example"}), "unsigned": signintest.Unsigned(p.Claims(signintest.Claims{"aud": bearer.Audience})),
	} {
		_, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, token)
		if fault.KindOf(err) != fault.Unauthenticated || !strings.HasPrefix(fault.Message(err), "InvalidToken: ") || !strings.Contains(fault.Next(err), bearer.Audience) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestAProviderOfSomeNamespaces(t *testing.T) {
	for name, want := range map[string]bool{"ot/ot-cloud/lake": true, "ot/ot-cloud/other": false} {
		w, p, _ := start(t, func(c *bearer.Config) { c.Names, c.Rights, c.Claim = []string{name}, eventhub.Listen, "groups" })
		c, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, p.Token(signintest.Claims{"aud": bearer.Audience, "groups": "Send"}))
		if (err == nil) != want || want && c.Rights != eventhub.Send|eventhub.Listen {
			t.Errorf("%s: %+v, %v", name, c, err)
		}
	}
}

// A provider that is away is no reason to take a token for a bad one.
func TestAProviderThatIsAway(t *testing.T) {
	w, p, _ := start(t, nil)
	token := p.Token(signintest.Claims{"aud": bearer.Audience})
	p.Down(true)
	_, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, token)
	if fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	if _, err := bearer.New(bearer.Config{Issuer: "http://elsewhere.example"}, clock.System{}); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
}
