package httpdoor_test

import (
	"context"
	"time"

	"github.com/isthmus-io/isthmus/control"
	"github.com/isthmus-io/isthmus/resource"
)

// people is what the fake control plane was asked about people, and what it answers.
type people struct {
	asked []string
	made  control.PersonRequest
	roles []resource.TenantRole
	life  time.Duration
	shown control.SignInRequest
}

func (f *fake) person(what, uid string) (control.Person, error) {
	unlock, err := f.lock()
	defer unlock()
	f.people.asked = append(f.people.asked, what+" "+uid)
	return control.Person{UID: uid, Tenant: "ot", Name: "ann", Roles: []resource.TenantRole{resource.RoleOperator}}, err
}

func (f *fake) CreatePerson(_ context.Context, _ control.Principal, r control.PersonRequest) (control.Person, error) {
	f.people.made = r
	return f.person("create", "u1")
}

func (f *fake) People(_ context.Context, _ control.Principal, tenant string) ([]control.Person, error) {
	p, err := f.person("list", tenant)
	return []control.Person{p}, err
}

func (f *fake) Person(_ context.Context, _ control.Principal, uid string) (control.Person, error) {
	return f.person("get", uid)
}

func (f *fake) SetRoles(_ context.Context, _ control.Principal, uid string, roles []resource.TenantRole, reason string) (control.Person, error) {
	f.people.roles = roles
	return f.person("roles", uid+" "+reason)
}

func (f *fake) DisablePerson(_ context.Context, _ control.Principal, uid, reason string) (control.Person, error) {
	return f.person("disable", uid+" "+reason)
}

func (f *fake) EnablePerson(_ context.Context, _ control.Principal, uid, reason string) (control.Person, error) {
	return f.person("enable", uid+" "+reason)
}

func (f *fake) RemovePerson(_ context.Context, _ control.Principal, uid, reason string) error {
	_, err := f.person("remove", uid+" "+reason)
	return err
}

func (f *fake) LinkPerson(_ context.Context, _ control.Principal, uid, provider, subject, reason string) (control.Person, error) {
	return f.person("link", uid+" "+provider+" "+subject+" "+reason)
}

func (f *fake) CreatePersonToken(_ context.Context, _ control.Principal, uid string, r control.PersonTokenRequest) (string, control.Token, error) {
	f.people.life = r.Life
	_, err := f.person("token", uid+" "+r.Name)
	return "new-secret", control.Token{ID: "t1", Name: r.Name, Person: uid}, err
}

func (f *fake) PersonTokens(_ context.Context, _ control.Principal, uid string) ([]control.Token, error) {
	_, err := f.person("tokens", uid)
	return nil, err
}

func (f *fake) SignInProvider(_ context.Context, tenant, name string) (control.SignInProvider, error) {
	_, err := f.person("provider", tenant+"/"+name)
	return control.SignInProvider{Tenant: tenant, Name: name, Issuer: "https://id.example.net", ClientID: "isthmus"}, err
}

func (f *fake) SignInChallenge(_ context.Context, tenant, provider string) (control.SignInChallenge, error) {
	_, err := f.person("challenge", tenant+"/"+provider)
	return control.SignInChallenge{Challenge: "c", Nonce: "n"}, err
}

func (f *fake) SignIn(_ context.Context, r control.SignInRequest) (control.SignedIn, error) {
	f.people.shown = r
	p, err := f.person("sign-in", r.Tenant+"/"+r.Provider)
	return control.SignedIn{Secret: "session", Person: p}, err
}

func (f *fake) SignOut(_ context.Context, _ control.Principal, bearer string) error {
	_, err := f.person("sign-out", bearer)
	return err
}
