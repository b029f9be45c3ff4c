package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/signin"
	"github.com/isthmus-io/isthmus/signin/signintest"
)

type said = signintest.Claims

// desk is a tenant with an identity provider that people sign in at.
type desk struct {
	*rig
	p *signintest.Provider
}

func corp(p *signintest.Provider, with ...func(*resource.IdentityProviderSpec)) *resource.IdentityProvider {
	i := noun[*resource.IdentityProvider](resource.KindIdentityProvider, "ot/corp")
	i.Spec = resource.IdentityProviderSpec{Issuer: p.Issuer, ClientID: signintest.ClientID, CA: p.CA, Roles: []resource.ProviderRole{
		{Claim: "groups", Value: "technicians", Roles: roles{operator}},
		{Claim: "groups", Value: "leads", Roles: roles{approver}},
		{Claim: "groups", Value: "it", Roles: roles{owner}},
	}}
	for _, f := range with {
		f(&i.Spec)
	}
	return i
}

func newDesk(t *testing.T, with ...func(*resource.IdentityProviderSpec)) *desk {
	t.Helper()
	r := plant(t)
	p := signintest.Start(r.clk, true)
	t.Cleanup(p.Close)
	r.verifier = privateVerifier(r.clk)
	r.apply(admin, corp(p, with...))
	return &desk{r, p}
}

// privateVerifier asks providers on this machine.
func privateVerifier(clk clock.Clock) *signin.Verifier {
	return signin.NewVerifier(signin.Config{Private: true}, clk)
}

func (d *desk) show(token string) (SignedIn, error) {
	return d.SignIn(ctx, SignInRequest{Tenant: "ot", Provider: "corp", IDToken: token})
}

// ann is the usual person, with other claims put in.
func (d *desk) ann(others said) string {
	c := said{"sub": "s-ann", "preferred_username": "Ann", "groups": []string{"technicians"}}
	for k, v := range others {
		c[k] = v
	}
	return d.p.Token(c)
}

func TestSigningIn(t *testing.T) {
	d := newDesk(t)
	s, err := d.show(d.ann(nil))
	if err != nil {
		t.Fatal(err)
	}
	if s.Person.Name != "ann" || s.Person.Provider != "corp" || s.Person.Subject != "s-ann" || !slices.Equal(s.Person.Roles, roles{operator}) || s.Person.CreatedBy != "ann of ot" {
		t.Errorf("%+v", s.Person)
	}
	if s.Token.Provider != "corp" || s.Token.Person != s.Person.UID || !s.Token.ExpiresAt.Equal(d.clk.Now().Add(8*time.Hour)) {
		t.Errorf("%+v", s.Token)
	}
	who, err := d.Authenticate(ctx, s.Secret)
	if err != nil || who.Person != s.Person.UID || !slices.Equal(who.Roles, roles{operator}) || !who.Expires.Equal(s.Token.ExpiresAt) {
		t.Errorf("%+v, %v", who, err)
	}
	// The next time it is the same person, with the roles the claims give then.
	d.clk.Advance(time.Hour)
	again, err := d.show(d.ann(said{"preferred_username": "anna", "groups": []string{"leads"}}))
	if err != nil || again.Person.UID != s.Person.UID || again.Person.Name != "ann" || !slices.Equal(again.Person.Roles, roles{approver}) {
		t.Errorf("%+v, %v", again.Person, err)
	}
	if who, err = d.Authenticate(ctx, s.Secret); err != nil || !slices.Equal(who.Roles, roles{approver}) {
		t.Errorf("the older session: %+v, %v", who, err)
	}
	d.clk.Advance(7 * time.Hour)
	_, err = d.Authenticate(ctx, s.Secret)
	want(t, err, fault.Unauthenticated, "the token sign-in at corp ended at")
	if got := d.steps("ot"); !slices.Equal(got, []string{"sign-in ot/ann by ann of ot", "sign-in ot/ann by ann of ot"}) {
		t.Error(got)
	}
}

func TestTheWayOverABrowser(t *testing.T) {
	d := newDesk(t)
	begin := func() SignInChallenge {
		c, err := d.SignInChallenge(ctx, "ot", "corp")
		if err != nil || len(c.Nonce) != 43 || c.Nonce == c.Challenge {
			t.Fatalf("%+v, %v", c, err)
		}
		return c
	}
	try := func(token, challenge string) error {
		_, err := d.SignIn(ctx, SignInRequest{Tenant: "ot", Provider: "corp", IDToken: token, Challenge: challenge})
		return err
	}
	c := begin()
	token := d.ann(said{"nonce": c.Nonce})
	want(t, try(token, ""), fault.Unauthenticated, "nobody shows the challenge to it")
	want(t, try(token, begin().Challenge), fault.Unauthenticated, "does not carry the nonce of this sign-in")
	want(t, try(token, c.Nonce), fault.Unauthenticated, "was not begun here")
	want(t, try(d.ann(nil), c.Challenge), fault.Unauthenticated, "does not carry the nonce")
	later := "AAAAAB" + c.Challenge[6:] // in the bytes of its end
	for _, forged := range []string{"x", c.Challenge + "A", c.Challenge[1:], later, strings.Repeat("A", len(c.Challenge))} {
		want(t, try(token, forged), fault.Unauthenticated, "was not begun here")
	}
	if err := try(token, c.Challenge); err != nil {
		t.Fatal(err)
	}
	want(t, try(token, c.Challenge), fault.Unauthenticated, "was used before")
	want(t, try(d.ann(said{"nonce": c.Nonce, "jti": "another"}), c.Challenge), fault.Unauthenticated, "was used before")
	// A challenge is of one provider, and for ten minutes.
	other := corp(d.p)
	other.Metadata.Name = "other"
	d.apply(admin, other)
	c = begin()
	_, err := d.SignIn(ctx, SignInRequest{Tenant: "ot", Provider: "other", IDToken: d.ann(said{"nonce": c.Nonce}), Challenge: c.Challenge})
	want(t, err, fault.Unauthenticated, "or at another provider")
	d.clk.Advance(10 * time.Minute)
	want(t, try(d.ann(said{"nonce": c.Nonce}), c.Challenge), fault.Unauthenticated, "took longer than 10 minutes")
}

func TestATokenIsUsedOnce(t *testing.T) {
	d := newDesk(t)
	token := d.ann(nil)
	if _, err := d.show(token); err != nil {
		t.Fatal(err)
	}
	for _, again := range append(signintest.Respelled(token), token) {
		_, err := d.show(again)
		want(t, err, fault.Unauthenticated, "was used before")
	}
	for d.clk.Now().Sub(t0) < 20*time.Minute { // also when it is forgotten that it was
		d.clk.Advance(time.Minute)
		_, err := d.show(token)
		want(t, err, fault.Unauthenticated, "")
	}
}

func TestWhoIsNotLetIn(t *testing.T) {
	d := newDesk(t)
	other := signintest.Start(d.clk, true)
	defer other.Close()
	for name, c := range map[string]struct {
		token string
		kind  fault.Kind
		words string
	}{
		"no role":           {d.ann(said{"groups": []string{"sales"}}), fault.Denied, "ann has no role in ot: none of the claims of corp gives one"},
		"another audience":  {d.ann(said{"aud": "mail"}), fault.Unauthenticated, "it is for"},
		"another provider":  {other.Token(said{"iss": d.p.Issuer, "groups": "it"}), fault.Unauthenticated, "has signed it"},
		"not signed":        {signintest.Unsigned(d.p.Claims(said{"groups": "it"})), fault.Unauthenticated, "it is not signed"},
		"no name of a sort": {d.ann(said{"preferred_username": "Ann Müller", "sub": "s ann"}), fault.Denied, "no claim of corp gives a name"},
	} {
		_, err := d.show(c.token)
		if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words) || fault.Next(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
	if all, err := d.People(ctx, admin, "ot"); err != nil || len(all) != 0 {
		t.Errorf("%+v, %v", all, err)
	}
	list, err := d.Audit(ctx, otOps, AuditFilter{Kind: string(resource.KindIdentityProvider)})
	if err != nil || len(list) != 6 {
		t.Fatalf("%d records, %v", len(list), err)
	}
	for _, a := range list[1:] {
		if a.Operation != "sign-in-refused" || a.Path != "ot/corp" || !strings.Contains(string(a.After), `"why":"`) {
			t.Errorf("%+v", a)
		}
	}
	_, err = d.SignIn(ctx, SignInRequest{Tenant: "ot", Provider: "none", IDToken: d.ann(nil)})
	want(t, err, fault.NotFound, "there is no such identity provider")
	_, hidden := d.SignInProvider(ctx, "zz", "corp")
	if fmt.Sprint(hidden) != strings.Replace(fmt.Sprint(err), "SignIn:", "SignInProvider:", 1) {
		t.Errorf("%v and %v", hidden, err)
	}
}

func TestRefusedSignInsAreRecordedWithinBounds(t *testing.T) {
	d := newDesk(t)
	for range 10 * deniedBurst {
		_, err := d.show("x")
		want(t, err, fault.Unauthenticated, "no signed token")
	}
	list, err := d.Audit(ctx, otOps, AuditFilter{Kind: string(resource.KindIdentityProvider), Limit: 1000})
	if err != nil || len(list) != 1+deniedBurst {
		t.Errorf("%d records, %v", len(list), err)
	}
}

func TestAProviderThatIsAway(t *testing.T) {
	d := newDesk(t)
	d.p.Down(true)
	_, err := d.show(d.ann(nil))
	want(t, err, fault.Unavailable, "does not answer")
	d.p.Down(false)
	d.clk.Advance(time.Minute)
	if _, err := d.show(d.ann(nil)); err != nil {
		t.Error(err)
	}
}

func TestProvidersNearbyAreNotAsked(t *testing.T) {
	d := newDesk(t)
	d.restart() // with the settings of the rig, which allow none
	_, err := d.show(d.ann(nil))
	want(t, err, fault.Denied, "no address of the internet")
}

// Who has no role any more loses what he had, also where a session is open and a grant in force.
func TestRolesThatAreTakenAwayElsewhere(t *testing.T) {
	d := newDesk(t)
	s, err := d.show(d.ann(nil))
	if err != nil {
		t.Fatal(err)
	}
	d.apply(admin, target("ot/plant-7/ssh", "press-4", "127.0.0.1:22"))
	d.letIn(s.Person.UID, "ot/plant-7/ssh", time.Hour)
	d.clk.Advance(time.Minute)
	_, err = d.show(d.ann(said{"groups": []string{}}))
	want(t, err, fault.Denied, "ann has no role in ot")
	who, err := d.Authenticate(ctx, s.Secret)
	if err != nil || len(who.Roles) != 0 {
		t.Errorf("%+v, %v", who, err)
	}
	if open, err := d.Grants(ctx, admin, GrantFilter{Tenant: "ot", Open: true}); err != nil || len(open) != 0 {
		t.Errorf("%+v, %v", open, err)
	}
	if got := d.steps("ot"); !slices.Equal(got, []string{"sign-in ot/ann by ann of ot", "roles ot/ann by ann of ot"}) {
		t.Error(got)
	}
}

func TestPeopleOfAProvider(t *testing.T) {
	d := newDesk(t)
	s, err := d.show(d.ann(nil))
	if err != nil {
		t.Fatal(err)
	}
	_, err = d.SetRoles(ctx, otOps, s.Person.UID, roles{owner}, "")
	want(t, err, fault.Conflict, "ann signs in at corp, and has the roles that its claims give")
	ann, err := d.Authenticate(ctx, s.Secret)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []Principal{otOps, ann} {
		_, _, err = d.CreatePersonToken(ctx, p, s.Person.UID, PersonTokenRequest{})
		want(t, err, fault.Conflict, "a token would outlast")
	}
	if _, err := d.DisablePerson(ctx, otOps, s.Person.UID, "left"); err != nil {
		t.Fatal(err)
	}
	_, err = d.Authenticate(ctx, s.Secret)
	want(t, err, fault.Unauthenticated, "was revoked")
	_, err = d.show(d.ann(said{"jti": "2"}))
	want(t, err, fault.Denied, "ann is disabled in ot")
	want(t, d.Delete(ctx, otOps, key(t, resource.KindIdentityProvider, "ot/corp"), ""), fault.Conflict, "1 people sign in there, such as ann")
	if err := d.RemovePerson(ctx, otOps, s.Person.UID, ""); err != nil {
		t.Fatal(err)
	}
	if err := d.Delete(ctx, otOps, key(t, resource.KindIdentityProvider, "ot/corp"), ""); err != nil {
		t.Error(err)
	}
}

func TestNamesThatAreTaken(t *testing.T) {
	d := newDesk(t)
	local := d.human("ot", "ann", owner)
	_, err := d.show(d.ann(nil))
	want(t, err, fault.Conflict, "ot has another person called ann")
	if next := fault.Next(err); !strings.Contains(next, "isthmus person link ann --provider corp --subject s-ann") {
		t.Error(next)
	}
	d.human("ot", "oscar", owner)
	p, err := d.LinkPerson(ctx, otOps, local.Person, "corp", "s-ann", "one and the same")
	if err != nil || p.Provider != "corp" || p.Subject != "s-ann" {
		t.Fatalf("%+v, %v", p, err)
	}
	if list, err := d.PersonTokens(ctx, admin, local.Person); err != nil || list[0].RevokedAt.IsZero() {
		t.Errorf("a token that was made by hand stays: %+v, %v", list, err)
	}
	s, err := d.show(d.ann(said{"jti": "2"}))
	if err != nil || s.Person.UID != local.Person || !slices.Equal(s.Person.Roles, roles{operator}) {
		t.Errorf("%+v, %v", s.Person, err)
	}
	bob := d.human("ot", "bob", operator)
	_, err = d.LinkPerson(ctx, otOps, bob.Person, "corp", "s-ann", "")
	want(t, err, fault.Conflict, "that is ann already")
	_, err = d.LinkPerson(ctx, otOps, bob.Person, "none", "s-bob", "")
	want(t, err, fault.NotFound, "there is no")
	_, err = d.LinkPerson(ctx, otOps, bob.Person, "corp", "", "")
	want(t, err, fault.Invalid, "the subject is missing")
}

// A subject means somebody to the issuer that gave it. Another issuer under the same name may mean somebody else by it.
func TestAProviderWithAnotherIssuer(t *testing.T) {
	d := newDesk(t)
	s, err := d.show(d.ann(nil))
	if err != nil {
		t.Fatal(err)
	}
	d.p = signintest.Start(d.clk, true)
	defer d.p.Close()
	d.apply(admin, corp(d.p))
	_, err = d.show(d.ann(said{"preferred_username": "mallory", "groups": []string{"it"}}))
	want(t, err, fault.Conflict, "ann is known from the issuer")
	if _, err := d.LinkPerson(ctx, otOps, s.Person.UID, "corp", "s-ann", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := d.show(d.ann(said{"jti": "2"})); err != nil {
		t.Error(err)
	}
}

func TestSessionsOfAPerson(t *testing.T) {
	d := newDesk(t, func(s *resource.IdentityProviderSpec) { s.SessionMinutes = 30 })
	var first SignedIn
	for i := range maxTokensOf + 1 {
		d.clk.Advance(time.Second)
		s, err := d.show(d.ann(said{"jti": fmt.Sprint(i)}))
		if err != nil || !s.Token.ExpiresAt.Equal(d.clk.Now().Add(30*time.Minute)) {
			t.Fatalf("%+v, %v", s, err)
		}
		if i == 0 {
			first = s
		}
	}
	_, err := d.Authenticate(ctx, first.Secret)
	want(t, err, fault.Unauthenticated, "was revoked")
	last, err := d.show(d.ann(said{"jti": "last"}))
	if err != nil {
		t.Fatal(err)
	}
	ann, err := d.Authenticate(ctx, last.Secret)
	if err != nil {
		t.Fatal(err)
	}
	if err := d.SignOut(ctx, ann, last.Secret); err != nil {
		t.Fatal(err)
	}
	_, err = d.Authenticate(ctx, last.Secret)
	want(t, err, fault.Unauthenticated, "was revoked")
	want(t, d.SignOut(ctx, otOps, last.Secret), fault.Conflict, "olga of ot is a program")
}

func TestHowToSignIn(t *testing.T) {
	d := newDesk(t)
	p, err := d.SignInProvider(ctx, "ot", "corp")
	if err != nil || p.Issuer != d.p.Issuer || p.ClientID != signintest.ClientID || !slices.Equal(p.Scopes, []string{"profile", "email"}) || p.CA != d.p.CA {
		t.Errorf("%+v, %v", p, err)
	}
}

// After a restart, or at another server of the deployment, a challenge is as good, and a used token as used.
func TestSignInsAcrossServers(t *testing.T) {
	d := newDesk(t)
	c, err := d.SignInChallenge(ctx, "ot", "corp")
	if err != nil {
		t.Fatal(err)
	}
	d.restart()
	d.verifier = privateVerifier(d.clk)
	req := SignInRequest{Tenant: "ot", Provider: "corp", IDToken: d.ann(said{"nonce": c.Nonce}), Challenge: c.Challenge}
	if _, err := d.SignIn(ctx, req); err != nil {
		t.Fatal(err)
	}
	d.restart()
	d.verifier = privateVerifier(d.clk)
	_, err = d.SignIn(ctx, req)
	want(t, err, fault.Unauthenticated, "was used before")
}
