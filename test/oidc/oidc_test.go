package oidc

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/signin/signintest"
)

// In a browser: PKCE, state and nonce, a loopback redirect; then a session with the roles of the claims.
func TestSignInOverABrowser(t *testing.T) {
	w := start(t)
	c := w.client("")
	how, err := c.SignInProvider(t.Context(), "ot", "corp")
	if err != nil || how.Issuer != w.p.issuer || how.ClientID != "isthmus" {
		t.Fatalf("%+v, %v", how, err)
	}
	begun, err := c.BeginSignIn(t.Context(), "ot", "corp")
	if err != nil {
		t.Fatal(err)
	}
	token := w.get("ann+technicians+leads", "isthmus", begun.Nonce)
	s, err := c.SignIn(t.Context(), "ot", "corp", token, begun.Challenge)
	if err != nil || s.Person.Name != "ann" || !slices.Equal(s.Person.Roles, []string{"operator", "approver"}) {
		t.Fatalf("%+v, %v", s.Person, err)
	}
	session := w.client(s.Secret)
	who, err := session.WhoAmI(t.Context())
	if err != nil || who.Name != "ann" || who.Person != s.Person.UID || !who.Expires.Equal(s.Token.ExpiresAt) {
		t.Errorf("%+v, %v", who, err)
	}
	_, err = c.SignIn(t.Context(), "ot", "corp", token, begun.Challenge)
	want(t, err, fault.Unauthenticated, "was used before")
	if err := session.SignOut(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, err = session.WhoAmI(t.Context())
	want(t, err, fault.Unauthenticated, "was revoked")
}

// With a code that is typed into a browser elsewhere.
func TestSignInWithADeviceCode(t *testing.T) {
	w := start(t)
	c := w.client("")
	token := w.get("ann+technicians", "isthmus", "")
	if _, ok := claimsOf(t, token)["nonce"]; ok {
		t.Error("a token of a device code carries a nonce")
	}
	s, err := c.SignIn(t.Context(), "ot", "corp", token, "")
	if err != nil || s.Person.Name != "ann" || !slices.Equal(s.Person.Roles, []string{"operator"}) {
		t.Fatalf("%+v, %v", s.Person, err)
	}
	for _, again := range append(signintest.Respelled(token), token) {
		_, err = c.SignIn(t.Context(), "ot", "corp", again, "")
		want(t, err, fault.Unauthenticated, "was used before")
	}
	// Both ways lead to the same person.
	begun, err := c.BeginSignIn(t.Context(), "ot", "corp")
	if err != nil {
		t.Fatal(err)
	}
	over, err := c.SignIn(t.Context(), "ot", "corp", w.get("ann+technicians", "isthmus", begun.Nonce), begun.Challenge)
	if err != nil || over.Person.UID != s.Person.UID {
		t.Errorf("%+v, %v", over.Person, err)
	}
}

func claimsOf(t *testing.T, token string) map[string]any {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(token, ".")[1])
	m := map[string]any{}
	if err == nil {
		err = json.Unmarshal(b, &m)
	}
	if err != nil {
		t.Fatal(err)
	}
	return m
}

func want(t *testing.T, err error, kind fault.Kind, words string) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind || !strings.Contains(fault.Message(err), words) {
		t.Errorf("got %v\nwant %s: %s", err, kind, words)
	} else if fault.Next(err) == "" {
		t.Errorf("no advice with %v", err)
	}
}

// publicKey is what the provider publishes of its first key.
func (w *world) publicKey() (id, n string) {
	w.t.Helper()
	resp, err := http.Get(w.p.issuer + "/jwks")
	if err != nil {
		w.t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	var set struct{ Keys []struct{ Kid, N string } }
	if err == nil {
		err = json.Unmarshal(b, &set)
	}
	if err != nil || len(set.Keys) != 1 {
		w.t.Fatalf("%s, %v", b, err)
	}
	return set.Keys[0].Kid, set.Keys[0].N
}

// Every token that must not count is refused with words, and recorded with them.
func TestTokensThatAreRefused(t *testing.T) {
	w := start(t)
	other := start(t) // another provider, and its control plane
	c := w.client("")
	begun, err := c.BeginSignIn(t.Context(), "ot", "corp")
	if err != nil {
		t.Fatal(err)
	}
	good, plain := w.get("ann+technicians", "isthmus", begun.Nonce), w.get("ann+technicians", "isthmus", "")
	id, n := w.publicKey()
	genuine := signintest.Claims(claimsOf(t, plain))
	var recorded []string
	for _, x := range []struct{ name, token, challenge, words string }{
		{"for another client", w.get("ann+technicians", "mail", ""), "", `it is for "mail", not for the client isthmus`},
		{"of another issuer", other.get("ann+technicians", "isthmus", ""), "", "no key of " + w.p.issuer + " has signed it"},
		{"for another nonce", w.get("ann+technicians", "isthmus", "made-up"), begun.Challenge, "it does not carry the nonce of this sign-in"},
		{"stolen, without the challenge", good, "", "it carries a nonce, and nobody shows the challenge to it"},
		{"without the nonce", plain, begun.Challenge, "it does not carry the nonce of this sign-in"},
		{"not signed", signintest.Unsigned(genuine), "", "it is not signed"},
		{"the public key as a secret", signintest.Symmetric(genuine, id, []byte(n)), "", `it is signed with "HS256", and only algorithms with a public key count`},
		{"in another group", signintest.Tampered(plain, "groups", []string{"leads"}), "", "no key of " + w.p.issuer + " has signed it"},
		{"of another person", signintest.Tampered(plain, "sub", "olga+leads"), "", "no key of " + w.p.issuer + " has signed it"},
		{"no token", "no token", "", "it is no signed token in compact form"},
		{"without a role", w.get("bob+sales", "isthmus", ""), "", "bob has no role in ot"},
	} {
		_, err := c.SignIn(t.Context(), "ot", "corp", x.token, x.challenge)
		if k := fault.KindOf(err); err == nil || k != fault.Unauthenticated && k != fault.Denied || !strings.Contains(fault.Message(err), x.words) || fault.Next(err) == "" {
			t.Errorf("%s: %v", x.name, err)
		}
		recorded = append(recorded, x.words)
	}
	// Late: the token has an hour, and is looked at for ten minutes only; after an hour it has ended.
	w.clk.put(11 * time.Minute)
	_, err = c.SignIn(t.Context(), "ot", "corp", plain, "")
	want(t, err, fault.Unauthenticated, "more than 10 minutes ago")
	w.clk.put(time.Hour)
	_, err = c.SignIn(t.Context(), "ot", "corp", plain, "")
	want(t, err, fault.Unauthenticated, "it ended at")
	_, err = c.SignIn(t.Context(), "ot", "corp", good, begun.Challenge)
	want(t, err, fault.Unauthenticated, "the sign-in took longer than 10 minutes")
	recorded = append(recorded, "it was issued at", "it ended at", "the sign-in took longer than 10 minutes")

	got := w.refusals()
	if len(got) != len(recorded) {
		t.Fatalf("%d refusals are recorded, not %d:\n%s", len(got), len(recorded), strings.Join(got, "\n"))
	}
	for i, words := range recorded {
		if !strings.HasPrefix(got[i], words) {
			t.Errorf("recorded %q, want %q", got[i], words)
		}
	}
	if people, err := w.ctl.People(t.Context(), w.admin, "ot"); err != nil || len(people) != 0 {
		t.Errorf("somebody was made: %+v, %v", people, err)
	}
	if err := w.ctl.VerifyAudit(t.Context(), w.admin); err != nil {
		t.Error(err)
	}
}

func TestTheProviderRotatesItsKeys(t *testing.T) {
	w := start(t)
	c := w.client("")
	if _, err := c.SignIn(t.Context(), "ot", "corp", w.get("ann+technicians", "isthmus", ""), ""); err != nil {
		t.Fatal(err)
	}
	old := w.get("ann+technicians", "isthmus", "")
	w.p.rotate()
	w.clk.put(10 * time.Second)
	fresh := w.get("ann+technicians", "isthmus", "")
	if _, err := c.SignIn(t.Context(), "ot", "corp", fresh, ""); err != nil {
		t.Errorf("with the new key: %v", err)
	}
	_, err := c.SignIn(t.Context(), "ot", "corp", old, "")
	want(t, err, fault.Unauthenticated, "has signed it")
}

func TestTheProviderIsDown(t *testing.T) {
	w := start(t)
	c := w.client("")
	token := w.get("ann+technicians", "isthmus", "")
	later := w.get("ann+technicians", "isthmus", "")
	if _, err := c.SignIn(t.Context(), "ot", "corp", token, ""); err != nil {
		t.Fatal(err)
	}
	w.p.stop()
	w.p.stop = func() {}
	// Its keys are known: whoever has a token signs in.
	if _, err := c.SignIn(t.Context(), "ot", "corp", later, ""); err != nil {
		t.Error(err)
	}
	// Of a provider that was never asked nothing is known.
	w.apply(w.corp("second", w.p.issuer))
	_, err := c.SignIn(t.Context(), "ot", "second", later, "")
	want(t, err, fault.Unavailable, "cannot be reached")
	if got := w.refusals(); len(got) != 1 || !strings.Contains(got[0], "cannot be reached") {
		t.Error(got)
	}
}

// Grants and roles follow the claims: who is taken out of all groups may do nothing from the next sign-in on, also in older sessions.
func TestGroupsThatChange(t *testing.T) {
	w := start(t)
	c := w.client("")
	first, err := c.SignIn(t.Context(), "ot", "corp", w.get("ann+technicians", "isthmus", ""), "")
	if err != nil {
		t.Fatal(err)
	}
	// The provider's subject has the groups in it, so the person with others is another one here, whose name is taken.
	_, err = c.SignIn(t.Context(), "ot", "corp", w.get("ann+leads", "isthmus", ""), "")
	want(t, err, fault.Conflict, "ot has another person called ann")
	if _, err := w.ctl.LinkPerson(t.Context(), w.admin, first.Person.UID, "corp", "ann+leads", "the same"); err != nil {
		t.Fatal(err)
	}
	second, err := c.SignIn(t.Context(), "ot", "corp", w.get("ann+leads", "isthmus", ""), "")
	if err != nil || second.Person.UID != first.Person.UID || fmt.Sprint(second.Person.Roles) != "[approver]" {
		t.Errorf("%+v, %v", second.Person, err)
	}
	if _, err := w.ctl.DisablePerson(t.Context(), w.admin, first.Person.UID, "left"); err != nil {
		t.Fatal(err)
	}
	_, err = w.client(second.Secret).WhoAmI(t.Context())
	want(t, err, fault.Unauthenticated, "was revoked")
	_, err = c.SignIn(t.Context(), "ot", "corp", w.get("ann+leads", "isthmus", ""), "")
	want(t, err, fault.Denied, "ann is disabled in ot")
}
