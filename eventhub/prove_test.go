package eventhub_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"log/slog"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	et "github.com/isthmus-io/isthmus/eventhub/eventhubtest"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
)

const sender = "sender"

// keyed is a world with an event hub, a policy of it that may send, and one of the namespace that may listen.
func keyed(t *testing.T, o et.Options) *et.World {
	t.Helper()
	w := et.Start(t, o)
	w.Create("Telemetry", 2)
	w.Create("other", 2)
	_, err := w.Namespace.CreatePolicy(t.Context(), "telemetry", sender, eventhub.Send)
	must(t, err)
	_, err = w.Namespace.CreatePolicy(t.Context(), "", "listener", eventhub.Listen)
	must(t, err)
	return w
}

func TestClaims(t *testing.T) {
	for _, c := range []struct {
		claim eventhub.Claim
		path  string
		need  eventhub.Right
		want  bool
	}{
		{eventhub.Claim{Rights: eventhub.Send}, "telemetry", eventhub.Send, true},
		{eventhub.Claim{Rights: eventhub.Send}, "telemetry", eventhub.Listen, false},
		{eventhub.Claim{Rights: eventhub.Send}, "telemetry", eventhub.Send | eventhub.Listen, false},
		{eventhub.Claim{Rights: eventhub.Manage}, "telemetry", eventhub.Send | eventhub.Listen, true},
		{eventhub.Claim{Path: "telemetry", Rights: eventhub.EveryRight}, "Telemetry", eventhub.Manage, true},
		{eventhub.Claim{Path: "telemetry", Rights: eventhub.EveryRight}, "/TELEMETRY/Partitions/0", eventhub.Send, true},
		{eventhub.Claim{Path: "telemetry", Rights: eventhub.EveryRight}, "telemetry2", eventhub.Send, false},
		{eventhub.Claim{Path: "telemetry", Rights: eventhub.EveryRight}, "", eventhub.Send, false},
		{eventhub.Claim{Path: "telemetry/partitions/0", Rights: eventhub.Send}, "telemetry/Partitions/0", eventhub.Send, true},
		{eventhub.Claim{Path: "telemetry/partitions/0", Rights: eventhub.Send}, "telemetry/partitions/1", eventhub.Send, false},
		{eventhub.Claim{Path: "telemetry/partitions/0", Rights: eventhub.Send}, "telemetry", eventhub.Send, false},
	} {
		if got := c.claim.Covers(c.path, c.need); got != c.want {
			t.Errorf("%q with %s covers %q with %s: %v", c.claim.Path, c.claim.Rights, c.path, c.need, got)
		}
	}
}

func TestSignatures(t *testing.T) {
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	w := keyed(t, et.Options{Clock: clock.NewFake(now)})
	root, own := w.Key("", eventhub.PolicyRoot), w.Key("telemetry", sender)
	_, second, err := w.Namespace.Keys("telemetry", sender)
	must(t, err)
	decoded := func(sr, policy, key string) string {
		text, err := sas.Sign(sr, key, policy, now.Add(time.Hour))
		must(t, err)
		return text
	}
	// Go's SDK puts all of sr in small letters before it signs.
	sr := strings.ToLower(url.QueryEscape("amqps://" + et.Host + "/Telemetry/Partitions/1"))
	for name, c := range map[string]struct {
		token  string
		path   string
		rights eventhub.Right
	}{
		"the namespace":                 {w.Token("", eventhub.PolicyRoot, root), "", eventhub.EveryRight},
		"no scheme":                     {w.Sign(et.Host, eventhub.PolicyRoot, root, time.Hour), "", eventhub.EveryRight},
		"the policy in another case":    {w.Token("", strings.ToLower(eventhub.PolicyRoot), root), "", eventhub.EveryRight},
		"an event hub":                  {w.Token("Telemetry", eventhub.PolicyRoot, root), "telemetry", eventhub.EveryRight},
		"a partition":                   {w.Token("telemetry/Partitions/1", sender, own), "telemetry/partitions/1", eventhub.Send},
		"a port":                        {w.Sign("amqp://"+et.Host+":5672/telemetry", sender, own, time.Hour), "telemetry", eventhub.Send},
		"another name of the host":      {w.Sign("sb://127.0.0.1/telemetry", sender, own, time.Hour), "telemetry", eventhub.Send},
		"the second key":                {w.Token("telemetry", sender, second), "telemetry", eventhub.Send},
		"the key as base64":             {decoded(et.Host+"/telemetry", sender, own), "telemetry", eventhub.Send},
		"in small letters":              {signRaw(sr, own, now.Add(time.Hour)), "telemetry/partitions/1", eventhub.Send},
		"management of an event hub":    {w.Token("telemetry/$management", "listener", w.Key("", "listener")), "telemetry/$management", eventhub.Listen},
		"the namespace's on a sub path": {w.Token("other/consumergroups/$default", "listener", w.Key("", "listener")), "other/consumergroups/$default", eventhub.Listen},
	} {
		c2, err := w.Namespace.Prove(t.Context(), eventhub.TokenSAS, c.token)
		if err != nil || c2.Path != c.path || c2.Rights != c.rights || !c2.Valid() || !c2.Expires.Equal(now.Add(time.Hour)) {
			t.Errorf("%s: %+v, %v", name, c2, err)
		}
	}
	for name, c := range map[string]struct {
		token string
		kind  fault.Kind
		words string
	}{
		"another key":                           {w.Token("telemetry", sender, "c29tZSBvdGhlciBrZXk="), fault.Unauthenticated, "InvalidSignature: The token has an invalid signature."},
		"no such policy":                        {w.Token("telemetry", "nobody", own), fault.Unauthenticated, "InvalidSignature: The token has an invalid signature."},
		"no such event hub and key":             {w.Token("nothing", "nobody", own), fault.Unauthenticated, "InvalidSignature: The token has an invalid signature."},
		"no token":                              {"hello", fault.Unauthenticated, "InvalidSignature: The token has an invalid signature."},
		"an event hub's policy elsewhere":       {w.Token("other", sender, own), fault.Unauthenticated, "InvalidSignature: "},
		"an event hub's policy, the namespace":  {w.Token("", sender, own), fault.Unauthenticated, "InvalidSignature: "},
		"a name that only begins like it":       {w.Token("telemetry2", sender, own), fault.Unauthenticated, "InvalidSignature: "},
		"another namespace":                     {w.Sign("sb://else.servicebus.windows.net/telemetry", sender, own, time.Hour), fault.Unauthenticated, "InvalidAudience: "},
		"expired":                               {w.Sign("sb://"+et.Host, eventhub.PolicyRoot, root, -time.Second), fault.Expired, "ExpiredToken: The token is expired. Expiration time: 2026-03-01T11:59:59Z"},
		"expired and unsigned":                  {w.Sign("sb://"+et.Host, eventhub.PolicyRoot, own, -time.Second), fault.Unauthenticated, "InvalidSignature: "},
		"good, for something that is not there": {w.Token("nothing", eventhub.PolicyRoot, root), fault.NotFound, "The messaging entity 'nothing' could not be found."},
	} {
		_, err := w.Namespace.Prove(t.Context(), eventhub.TokenSAS, c.token)
		refused(t, err, c.kind, name)
		if !strings.HasPrefix(fault.Message(err), c.words) {
			t.Errorf("%s: %s", name, fault.Message(err))
		}
		for _, secret := range []string{root, own} {
			if err != nil && strings.Contains(err.Error(), secret) {
				t.Errorf("%s: the error has a key", name)
			}
		}
	}
}

// signRaw signs an sr that is escaped already.
func signRaw(sr, key string, expires time.Time) string {
	se := strconv.FormatInt(expires.Unix(), 10)
	m := hmac.New(sha256.New, []byte(key))
	m.Write([]byte(sr + "\n" + se))
	return "SharedAccessSignature sr=" + sr + "&sig=" + url.QueryEscape(base64.StdEncoding.EncodeToString(m.Sum(nil))) + "&se=" + se + "&skn=" + sender
}

func TestKeysThemselves(t *testing.T) {
	w := keyed(t, et.Options{})
	root, own := w.Key("", eventhub.PolicyRoot), w.Key("telemetry", sender)
	if c, err := w.Namespace.ProveKey(t.Context(), eventhub.PolicyRoot, root); err != nil || c.Path != "" || c.Rights != eventhub.EveryRight || !c.Valid() {
		t.Errorf("%+v, %v", c, err)
	}
	if c, err := w.Namespace.ProveKey(t.Context(), "Sender", own); err != nil || c.Path != "telemetry" || c.Rights != eventhub.Send || !c.Valid() {
		t.Errorf("%+v, %v", c, err)
	}
	for _, c := range [][2]string{{eventhub.PolicyRoot, own}, {eventhub.PolicyRoot, ""}, {"nobody", ""}, {"", ""}, {sender, root}} {
		_, err := w.Namespace.ProveKey(t.Context(), c[0], c[1])
		refused(t, err, fault.Unauthenticated, c[0])
	}
}

// A claim is worth nothing once what it came from is gone, and whoever holds it is told to look.
func TestClaimsThatLapse(t *testing.T) {
	ctx := context.Background()
	for name, change := range map[string]func(*et.World) error{
		"the key is renewed": func(w *et.World) error {
			return w.Namespace.RenewPolicyKey(ctx, "telemetry", sender, eventhub.Primary, "a test")
		},
		"the policy goes":    func(w *et.World) error { return w.Namespace.DeletePolicy(ctx, "telemetry", sender) },
		"the event hub goes": func(w *et.World) error { return w.Namespace.DeleteEventHub(ctx, "telemetry") },
		"the namespace goes": func(w *et.World) error { return w.Server.SetNamespaces(ctx, nil) },
	} {
		t.Run(name, func(t *testing.T) {
			w := keyed(t, et.Options{})
			c, err := w.Namespace.Prove(ctx, eventhub.TokenSAS, w.Token("telemetry", sender, w.Key("telemetry", sender)))
			must(t, err)
			must(t, w.Namespace.RenewPolicyKey(ctx, "telemetry", sender, eventhub.Secondary, "a test"))
			must(t, w.Namespace.RenewPolicyKey(ctx, "telemetry", sender, eventhub.Swap, "a test"))
			must(t, w.Namespace.RenewPolicyKey(ctx, "telemetry", sender, eventhub.Swap, "a test"))
			told := w.Namespace.Renewed()
			if !c.Valid() || ended(told) {
				t.Fatal("it is gone already")
			}
			must(t, change(w))
			if c.Valid() || !ended(told) {
				t.Errorf("valid %v, told %v", c.Valid(), ended(told))
			}
		})
	}
}

func TestIdentities(t *testing.T) {
	expires := time.Now().Add(time.Hour).UTC()
	w := et.Start(t, et.Options{Change: func(c *eventhub.Config) {
		c.Tokens = func(_ context.Context, n eventhub.Spec, token string) (eventhub.Identity, error) {
			if n.ID != et.ID || token != "good" {
				return eventhub.Identity{}, fault.New("test", fault.Unauthenticated, "no")
			}
			return eventhub.Identity{Who: "app", Rights: eventhub.Listen, EventHub: "Telemetry", Expires: expires}, nil
		}
	}})
	c, err := w.Namespace.Prove(t.Context(), eventhub.TokenJWT, "good")
	if err != nil || c.Path != "telemetry" || c.Rights != eventhub.Listen || c.Who != "app" || !c.Expires.Equal(expires) || !c.Valid() {
		t.Errorf("%+v, %v", c, err)
	}
	_, err = w.Namespace.Prove(t.Context(), eventhub.TokenJWT, "bad")
	refused(t, err, fault.Unauthenticated, "a bad token")
	_, err = w.Namespace.Prove(t.Context(), "amqp:swt", "good")
	refused(t, err, fault.Invalid, "a token of another kind")
	_, err = start(t).Namespace.Prove(t.Context(), eventhub.TokenJWT, "good")
	refused(t, err, fault.Unauthenticated, "a namespace that takes none")
}

// The token for tests is one more kind of key: nobody gets in without it, and the log says that there is one.
func TestTheTestToken(t *testing.T) {
	var log strings.Builder
	w := et.Start(t, et.Options{
		Change: func(c *eventhub.Config) { c.TestToken = "Sanitized" },
		Logger: slog.New(slog.NewTextHandler(&log, nil)),
	})
	for _, kind := range []string{eventhub.TokenJWT, eventhub.TokenSAS} {
		if c, err := w.Namespace.Prove(t.Context(), kind, "Sanitized"); err != nil || c.Rights != eventhub.EveryRight || c.Path != "" {
			t.Errorf("%s: %+v, %v", kind, c, err)
		}
		for _, other := range []string{"", "sanitized", "Sanitized "} {
			if _, err := w.Namespace.Prove(t.Context(), kind, other); err == nil {
				t.Errorf("%s: %q is as good", kind, other)
			}
		}
	}
	_, err := start(t).Namespace.Prove(t.Context(), eventhub.TokenJWT, "")
	refused(t, err, fault.Unauthenticated, "an empty token where there is no test token")
	w.Stop()
	if !strings.Contains(log.String(), "level=WARN") || strings.Contains(log.String(), "Sanitized") {
		t.Errorf("the log says %s", log.String())
	}
}

func TestAuthorize(t *testing.T) {
	w := keyed(t, et.Options{})
	own := w.Token("telemetry", sender, w.Key("telemetry", sender))
	if c, err := w.Namespace.Authorize(t.Context(), own, "Telemetry", eventhub.Send); err != nil || c.Who != sender {
		t.Errorf("%+v, %v", c, err)
	}
	_, err := w.Namespace.Authorize(t.Context(), own, "telemetry", eventhub.Listen)
	refused(t, err, fault.Denied, "a right it does not have")
	if !strings.HasPrefix(fault.Message(err), "Unauthorized access. 'Listen' claim(s) are required to perform this operation.") {
		t.Error(fault.Message(err))
	}
	_, err = w.Namespace.Authorize(t.Context(), own, "", eventhub.Send)
	refused(t, err, fault.Denied, "the whole namespace")
	_, err = w.Namespace.Authorize(t.Context(), own, "other", eventhub.Send)
	refused(t, err, fault.Denied, "another event hub")
	for _, header := range []string{"", "Bearer x", "Basic x"} {
		_, err = w.Namespace.Authorize(t.Context(), header, "telemetry", eventhub.Send)
		refused(t, err, fault.Unauthenticated, header)
	}
}

// TestNobodysKeySignsNothing: what is computed for policies that are not there, so that they take as long, opens nothing.
func TestNobodysKeySignsNothing(t *testing.T) {
	w := keyed(t, et.Options{})
	const nobodys = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="
	for _, sign := range []func(resource, key, policy string, expires time.Time) (string, error){sas.Sign, sas.SignText} {
		for _, policy := range []string{"nobody", sender, "RootManageSharedAccessKey"} {
			for _, path := range []string{"", "telemetry", "absent"} {
				token, err := sign("sb://"+w.Namespace.HostNames()[0]+"/"+path, nobodys, policy, time.Now().Add(time.Hour))
				if err != nil {
					t.Fatal(err)
				}
				if c, err := w.Namespace.Prove(t.Context(), eventhub.TokenSAS, token); fault.KindOf(err) != fault.Unauthenticated {
					t.Errorf("%s for %q: %+v, %v", policy, path, c, err)
				}
			}
		}
	}
}
