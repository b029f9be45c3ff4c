package signin_test

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/signin"
	"github.com/isthmus-io/isthmus/signin/signintest"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var t0 = time.Date(2026, 11, 22, 3, 0, 0, 0, time.UTC)

// rig is a provider and who verifies its tokens, at one time.
type rig struct {
	*signintest.Provider
	clk *clock.Fake
	v   *signin.Verifier
	as  signin.Provider
}

func start(t *testing.T, secure bool) *rig {
	t.Helper()
	clk := clock.NewFake(t0)
	p := signintest.Start(clk, secure)
	t.Cleanup(p.Close)
	return &rig{p, clk, signin.NewVerifier(signin.Config{Private: true}, clk),
		signin.Provider{Name: "ot/corp", Issuer: p.Issuer, ClientID: signintest.ClientID, CA: p.CA}}
}

func (r *rig) verify(token string) (*signin.Claims, error) {
	return r.v.Verify(context.Background(), r.as, token)
}

func want(t *testing.T, err error, kind fault.Kind, words string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(fault.Message(err), words) {
		t.Errorf("got %v\nwant %s: %s", err, kind, words)
	} else if fault.Next(err) == "" {
		t.Errorf("no advice with %v", err)
	}
}

func TestAGoodToken(t *testing.T) {
	for _, secure := range []bool{false, true} {
		r := start(t, secure)
		c, err := r.verify(r.Token(signintest.Claims{"nonce": "n-1", "groups": []string{"a", "b"}}))
		if err != nil {
			t.Fatal(err)
		}
		if c.Issuer != r.Issuer || c.Subject != "s-1" || c.Nonce != "n-1" || !c.IssuedAt.Equal(t0) || fmt.Sprint(c.Texts("groups")) != "[a b]" {
			t.Errorf("%+v", c)
		}
	}
}

func TestTokensThatDoNotHold(t *testing.T) {
	r, other := start(t, false), start(t, false)
	id, n := r.Key()
	good := r.Token(nil)
	at := func(d time.Duration) int64 { return t0.Add(d).Unix() }
	type claims = signintest.Claims
	for name, c := range map[string]struct{ token, words string }{
		"another provider's key":          {other.Token(claims{"iss": r.Issuer}), "no key of " + r.Issuer + " has signed it"},
		"another provider's":              {other.Token(nil), "no key of"},
		"another issuer":                  {r.Token(claims{"iss": "https://elsewhere.example"}), `it was issued by "https://elsewhere.example"`},
		"an issuer with a slash":          {r.Token(claims{"iss": r.Issuer + "/"}), "it was issued by"},
		"no issuer":                       {r.Token(claims{"iss": nil}), "it was issued by"},
		"another audience":                {r.Token(claims{"aud": "mail"}), `it is for "mail", not for the client isthmus`},
		"no audience":                     {r.Token(claims{"aud": nil}), "it is for"},
		"an audience that begins so":      {r.Token(claims{"aud": "isthmus2"}), "it is for"},
		"several audiences, no party":     {r.Token(claims{"aud": []string{"isthmus", "mail"}}), "several clients"},
		"several audiences, another":      {r.Token(claims{"aud": []string{"isthmus", "mail"}, "azp": "mail"}), `it was made for the client "mail"`},
		"one audience, another party":     {r.Token(claims{"azp": "mail"}), `it was made for the client "mail"`},
		"no subject":                      {r.Token(claims{"sub": nil}), "who it is about"},
		"a subject without end":           {r.Token(claims{"sub": strings.Repeat("a", 256)}), "who it is about"},
		"a subject that is a number":      {r.Token(claims{"sub": 7}), ""},
		"ended":                           {r.Token(claims{"iat": at(-9 * time.Minute), "exp": at(0)}), "it ended at 2026-11-22T03:00:00Z"},
		"no end":                          {r.Token(claims{"exp": nil}), "when it ends"},
		"old":                             {r.Token(claims{"iat": at(-signin.MaxAge - time.Second)}), "more than 10 minutes ago"},
		"no beginning":                    {r.Token(claims{"iat": nil}), "when it was issued"},
		"from the future":                 {r.Token(claims{"iat": at(signin.Ahead + time.Second)}), "which is in the future"},
		"not yet":                         {r.Token(claims{"nbf": at(signin.Ahead + time.Second)}), "it is not valid before"},
		"not signed":                      {signintest.Unsigned(r.Claims(nil)), "it is not signed"},
		"the public key as a secret":      {signintest.Symmetric(r.Claims(nil), id, []byte(n)), `it is signed with "HS256"`},
		"a claim changed":                 {signintest.Tampered(good, "sub", "s-2"), "no key of"},
		"no signature":                    {good[:strings.LastIndexByte(good, '.')+1], "no key of"},
		"another signature":               {good[:strings.LastIndexByte(good, '.')+1] + strings.Repeat("A", 86), "no key of"},
		"no token":                        {"", "no signed token"},
		"no token at all":                 {"isthmus_abc_def", "no signed token"},
		"a JSON serialization":            {`{"payload":"e30","signatures":[]}`, "no signed token"},
		"encrypted":                       {"eyJhbGciOiJSU0EtT0FFUCJ9.a.b.c.d", "no signed token"},
		"a head that is no JSON":          {"AAAA.e30.AAAA", "no signed token"},
		"large":                           {good + strings.Repeat("A", 32<<10), "larger than 32 KiB"},
		"claims behind another's address": {r.Token(claims{"_claim_names": map[string]string{"groups": "x"}}), "its claims do not hold"},
	} {
		_, err := r.verify(c.token)
		if err == nil || fault.KindOf(err) != fault.Unauthenticated || !strings.Contains(fault.Message(err), c.words) || fault.Next(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
		if len(c.token) > 40 && strings.Contains(fmt.Sprintf("%+v", err), c.token[:40]) {
			t.Errorf("%s: the token is in %v", name, err)
		}
	}
	if _, err := r.verify(good); err != nil {
		t.Errorf("after all that: %v", err)
	}
	if _, err := r.verify(r.Token(claims{"aud": []string{"mail", "isthmus"}, "azp": "isthmus"})); err != nil {
		t.Errorf("several audiences, ours the party: %v", err)
	}
}

// The same token can be spelled in several ways; what tells it from others is what was signed.
func TestATokenRespelled(t *testing.T) {
	r := start(t, false)
	token := r.Token(nil)
	a, err := r.verify(token)
	if err != nil {
		t.Fatal(err)
	}
	for _, again := range signintest.Respelled(token) {
		b, err := r.verify(again)
		if token == again || err != nil || a.Signed != b.Signed {
			t.Errorf("%v, signed %q and %q", err, a.Signed, b.Signed)
		}
	}
}

func TestKeysAreRotated(t *testing.T) {
	r := start(t, false)
	old := r.Token(nil)
	if _, err := r.verify(old); err != nil {
		t.Fatal(err)
	}
	r.Rotate()
	fresh := r.Token(signintest.Claims{"iat": t0.Add(time.Minute).Unix()})
	// The keys were asked for a moment ago, and are not again: a stranger could make us ask without end.
	_, err := r.verify(fresh)
	want(t, err, fault.Unauthenticated, "no key of")
	// The library lets go of a question, and of the keys before it, a moment after it was answered.
	r.clk.Advance(time.Minute)
	soon := func(ok func(error) bool, token string) error {
		var err error
		for patience := time.Now().Add(10 * time.Second); time.Now().Before(patience); runtime.Gosched() {
			if _, err = r.verify(token); ok(err) {
				break
			}
		}
		return err
	}
	if err := soon(func(err error) bool { return err == nil }, fresh); err != nil {
		t.Errorf("after a while: %v", err)
	}
	want(t, soon(func(err error) bool { return err != nil }, old), fault.Unauthenticated, "no key of")
}

// A key that the provider took back is good for an hour at most, also when no token of a new one comes by.
func TestAKeyThatIsGone(t *testing.T) {
	r := start(t, false)
	if _, err := r.verify(r.Token(nil)); err != nil {
		t.Fatal(err)
	}
	stolen := r.Token(signintest.Claims{"iat": t0.Add(time.Hour).Unix(), "exp": t0.Add(2 * time.Hour).Unix()})
	r.Rotate()
	r.clk.Advance(time.Hour)
	_, err := r.verify(stolen)
	want(t, err, fault.Unauthenticated, "no key of")
}

func TestMadeUpKeysDoNotMakeUsAsk(t *testing.T) {
	r, other := start(t, false), start(t, false)
	var wg sync.WaitGroup
	for range 10 {
		wg.Go(func() {
			other.Rotate()
			forged := other.Token(signintest.Claims{"iss": r.Issuer})
			if _, err := r.verify(forged); fault.KindOf(err) != fault.Unauthenticated {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n, m := r.Asked("/keys"), r.Asked("/.well-known/openid-configuration"); n != 1 || m != 1 {
		t.Errorf("the keys were asked for %d times, the metadata %d times", n, m)
	}
}

func TestAProviderThatIsDown(t *testing.T) {
	r := start(t, false)
	r.Down(true)
	for range 3 {
		_, err := r.verify(r.Token(nil))
		want(t, err, fault.Unavailable, "does not answer as an OpenID Connect provider does")
	}
	if n := r.Asked("/.well-known/openid-configuration"); n != 1 {
		t.Errorf("asked %d times", n)
	}
	r.Down(false)
	r.clk.Advance(5 * time.Second)
	if _, err := r.verify(r.Token(nil)); err != nil {
		t.Fatalf("up again: %v", err)
	}
	// What is known serves while the provider is down, for a day.
	r.Down(true)
	r.clk.Advance(2 * time.Hour)
	if _, err := r.verify(r.Token(nil)); err != nil {
		t.Errorf("with keys of two hours ago: %v", err)
	}
	r.clk.Advance(23 * time.Hour)
	_, err := r.verify(r.Token(nil))
	want(t, err, fault.Unavailable, "")
	r.Close()
	r.clk.Advance(time.Minute)
	_, err = r.verify(r.Token(nil))
	want(t, err, fault.Unavailable, "cannot be reached")
}

func TestKeysThatCannotBeHad(t *testing.T) {
	r := start(t, false)
	r.Say("jwks_uri", r.Issuer+"/nothing")
	_, err := r.verify(r.Token(nil))
	want(t, err, fault.Unavailable, "does not answer")
}

func TestMetadataThatIsNotBelieved(t *testing.T) {
	for name, c := range map[string]struct {
		member string
		value  any
		words  string
	}{
		"another issuer":     {"issuer", "https://elsewhere.example", `calls itself "https://elsewhere.example"`},
		"keys without TLS":   {"jwks_uri", "http://keys.example/keys", "the jwks_uri of"},
		"keys in a file":     {"jwks_uri", "file:///etc/passwd", "the jwks_uri of"},
		"no token endpoint":  {"token_endpoint", nil, "the token_endpoint of"},
		"a page of script":   {"authorization_endpoint", "javascript:alert(1)", "the authorization_endpoint of"},
		"no PKCE with S256":  {"code_challenge_methods_supported", []string{"plain"}, "does not know PKCE"},
		"a device elsewhere": {"device_authorization_endpoint", "ftp://x.example", "the device_authorization_endpoint of"},
	} {
		r := start(t, false)
		r.Say(c.member, c.value)
		_, err := r.verify(r.Token(nil))
		if fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Message(err), c.words) || fault.Next(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// What a provider may do to us is bounded.
func TestHostileProviders(t *testing.T) {
	serve := func(t *testing.T, h http.HandlerFunc) signin.Provider {
		s := httptest.NewServer(h)
		t.Cleanup(s.Close)
		return signin.Provider{Name: "ot/corp", Issuer: s.URL, ClientID: "isthmus"}
	}
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("a redirect was followed") }))
	defer elsewhere.Close()
	for name, c := range map[string]struct {
		h     http.HandlerFunc
		kind  fault.Kind
		words string
	}{
		"leads elsewhere": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, elsewhere.URL, http.StatusFound) }, fault.Unavailable, "does not answer"},
		"answers without end": {func(w http.ResponseWriter, _ *http.Request) {
			for range 300 {
				_, _ = w.Write(make([]byte, 1024))
			}
		}, fault.TooLarge, "more than 256 KiB"},
		"says nothing": {func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, fault.Timeout, "did not answer in time"},
	} {
		_, err := signin.Discover(context.Background(), serve(t, c.h), signin.Config{Private: true, Timeout: 300 * time.Millisecond})
		if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestHostileKeys(t *testing.T) {
	for name, c := range map[string]struct{ keys, words string }{
		"a key that takes hours":  {`{"keys":[{"kty":"RSA","n":"` + strings.Repeat("A", 2000) + `","e":"AQAB"}]}`, "more than 8192 bits"},
		"more keys than anybody":  {`{"keys":[` + strings.Repeat(`{"kty":"oct"},`, 200) + `{}]}`, "has 201 keys"},
		"keys that are no keys":   {`[]`, "cannot be read"},
		"a secret as the key set": {`{"keys":[{"kty":"oct","k":"AAAA"}]}`, "no key of"},
	} {
		r := start(t, false)
		s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte(c.keys)) }))
		r.Say("jwks_uri", s.URL)
		_, err := r.verify(r.Token(nil))
		if err == nil || !strings.Contains(fault.Message(err), c.words) {
			t.Errorf("%s: %v", name, err)
		}
		s.Close()
	}
}

func TestPrivateAddressesAreNotAsked(t *testing.T) {
	p := signintest.Start(clock.NewFake(t0), false)
	defer p.Close()
	_, err := signin.Discover(context.Background(), signin.Provider{Name: "ot/corp", Issuer: p.Issuer, ClientID: "isthmus"}, signin.Config{})
	want(t, err, fault.Denied, "the identity provider is at 127.0.0.1")
	if n := p.Asked("/.well-known/openid-configuration"); n != 0 {
		t.Errorf("it was asked %d times", n)
	}
	_, err = signin.Discover(context.Background(), signin.Provider{Name: "ot/corp", Issuer: strings.Replace(p.Issuer, "127.0.0.1", "localhost", 1)}, signin.Config{})
	want(t, err, fault.Denied, "the identity provider is at")
}

func TestTheCertificateIsVerified(t *testing.T) {
	r := start(t, true)
	r.as.CA = ""
	_, err := r.verify(r.Token(nil))
	want(t, err, fault.Unavailable, "")
	r.as.CA = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
	_, err = r.verify(r.Token(nil))
	want(t, err, fault.Conflict, "spec.ca of ot/corp")
}

// A provider whose settings change is asked anew at once.
func TestAProviderThatChanges(t *testing.T) {
	r, other := start(t, false), start(t, false)
	if _, err := r.verify(r.Token(nil)); err != nil {
		t.Fatal(err)
	}
	r.as.Issuer = other.Issuer
	if _, err := r.verify(other.Token(nil)); err != nil {
		t.Error(err)
	}
	_, err := r.verify(r.Token(nil))
	want(t, err, fault.Unauthenticated, "no key of")
}

func FuzzVerify(f *testing.F) {
	clk := clock.NewFake(t0)
	p := signintest.Start(clk, false)
	defer p.Close()
	v := signin.NewVerifier(signin.Config{Private: true}, clk)
	good := p.Token(nil)
	f.Add(good)
	f.Add(signintest.Tampered(good, "sub", "x"))
	f.Add(signintest.Unsigned(p.Claims(nil)))
	f.Add("a.b.c")
	head, rest, _ := strings.Cut(good, ".")
	body, _, _ := strings.Cut(rest, ".")
	f.Fuzz(func(t *testing.T, token string) {
		c, err := v.Verify(context.Background(), signin.Provider{Name: "ot/corp", Issuer: p.Issuer, ClientID: signintest.ClientID}, token)
		switch {
		case err != nil && fault.KindOf(err) != fault.Unauthenticated:
			t.Fatalf("%q: %v", token, err)
		case err == nil && c.Signed != head+"."+body:
			t.Fatalf("%q holds, and says %+v", token, c)
		}
	})
}

func BenchmarkVerify(b *testing.B) {
	clk := clock.NewFake(t0)
	p := signintest.Start(clk, false)
	defer p.Close()
	v, as := signin.NewVerifier(signin.Config{Private: true}, clk), signin.Provider{Name: "ot/corp", Issuer: p.Issuer, ClientID: signintest.ClientID}
	token := p.Token(nil)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := v.Verify(b.Context(), as, token); err != nil {
			b.Fatal(err)
		}
	}
}
