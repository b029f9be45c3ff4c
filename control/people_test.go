package control

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

const (
	owner        = resource.RoleOwner
	networkAdmin = resource.RoleNetworkAdmin
	operator     = resource.RoleOperator
	approver     = resource.RoleApprover
	auditor      = resource.RoleAuditor
)

type roles = []resource.TenantRole

// human makes a person of a tenant and returns who asks with the first token of that person.
func (r *rig) human(tenant, name string, has ...resource.TenantRole) Principal {
	r.t.Helper()
	p, err := r.CreatePerson(ctx, admin, PersonRequest{Tenant: tenant, Name: name, Roles: has})
	if err != nil {
		r.t.Fatal(err)
	}
	secret, _, err := r.CreatePersonToken(ctx, admin, p.UID, PersonTokenRequest{})
	if err != nil {
		r.t.Fatal(err)
	}
	who, err := r.Authenticate(ctx, secret)
	if err != nil {
		r.t.Fatal(err)
	}
	return who
}

// steps are operations and paths of a chain's records about people and tokens, in order.
func (r *rig) steps(tenant string) []string {
	r.t.Helper()
	list, err := r.Audit(ctx, admin, AuditFilter{Tenant: tenant, Limit: 1000})
	if err != nil {
		r.t.Fatal(err)
	}
	var out []string
	for _, a := range list {
		if a.Kind == string(kindPerson) {
			out = append(out, a.Operation+" "+a.Path+" by "+a.Who)
		}
	}
	return out
}

func TestPeopleOfATenant(t *testing.T) {
	r := plant(t)
	olga := r.human("ot", "olga@example.net", owner)
	if olga.Tenant != "ot" || olga.Name != "olga@example.net" || !slices.Equal(olga.Roles, roles{owner}) || !olga.Expires.Equal(r.clk.Now().Add(90*day)) {
		t.Errorf("%+v", olga)
	}
	ann, err := r.CreatePerson(ctx, olga, PersonRequest{Tenant: "ot", Name: "Ann@Example.net", Roles: roles{operator}, Reason: "on call"})
	if err != nil || ann.Name != "ann@example.net" || ann.CreatedBy != "olga@example.net of ot" || len(ann.UID) != 26 {
		t.Fatalf("%+v, %v", ann, err)
	}
	for _, p := range []Principal{olga, otOps, otRead, admin} {
		if all, err := r.People(ctx, p, "ot"); err != nil || len(all) != 2 || all[0].Name != "ann@example.net" {
			t.Errorf("%s sees %+v, %v", p.Who(), all, err)
		}
		if one, err := r.Person(ctx, p, ann.UID); err != nil || one.UID != ann.UID {
			t.Errorf("%s sees %+v, %v", p.Who(), one, err)
		}
	}
	// Another tenant's person is as one that does not exist.
	if all, err := r.People(ctx, itOps, "ot"); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
	_, there := r.Person(ctx, itOps, ann.UID)
	_, absent := r.Person(ctx, itOps, strings.Repeat("a", 26))
	if strings.ReplaceAll(fmt.Sprint(there), ann.UID, strings.Repeat("a", 26)) != fmt.Sprint(absent) || fault.KindOf(there) != fault.NotFound {
		t.Errorf("%v and %v", there, absent)
	}
	for _, do := range []func() error{
		func() error { _, err := r.SetRoles(ctx, itOps, ann.UID, roles{owner}, ""); return err },
		func() error { _, err := r.DisablePerson(ctx, itOps, ann.UID, ""); return err },
		func() error { return r.RemovePerson(ctx, itOps, ann.UID, "") },
		func() error { _, _, err := r.CreatePersonToken(ctx, itOps, ann.UID, PersonTokenRequest{}); return err },
		func() error { _, err := r.PersonTokens(ctx, itOps, ann.UID); return err },
	} {
		want(t, do(), fault.NotFound, "there is no person")
	}
	if err := r.RemovePerson(ctx, olga, ann.UID, "gone"); err != nil {
		t.Fatal(err)
	}
	if got := r.steps("ot"); !slices.Equal(got, []string{
		"create ot/olga@example.net by root of the deployment", "create ot/ann@example.net by olga@example.net of ot", "delete ot/ann@example.net by olga@example.net of ot",
	}) {
		t.Error(strings.Join(got, "\n"))
	}
}

func TestWhoChangesPeople(t *testing.T) {
	r := plant(t)
	ann := r.human("ot", "ann", operator)
	for _, p := range []Principal{otRead, r.human("ot", "nina", networkAdmin, approver, auditor, operator), ann, {Name: "m", Role: RoleReader}} {
		_, err := r.CreatePerson(ctx, p, PersonRequest{Tenant: "ot", Name: "x"})
		want(t, err, fault.Denied, "")
		_, err = r.SetRoles(ctx, p, ann.Person, roles{owner}, "")
		want(t, err, fault.Denied, "")
		_, err = r.DisablePerson(ctx, p, ann.Person, "")
		want(t, err, fault.Denied, "")
		want(t, r.RemovePerson(ctx, p, ann.Person, ""), fault.Denied, "")
		_, err = r.LinkPerson(ctx, p, ann.Person, "corp", "s", "")
		want(t, err, fault.Denied, "")
	}
}

func TestNamesOfPeople(t *testing.T) {
	r := plant(t)
	r.human("ot", "ann", operator)
	for _, name := range []string{"", "an n", "аnn", "ann\x00", "-ann", ".", "a/b", "ann;rm", strings.Repeat("a", 101), "ann\u200b"} {
		_, err := r.CreatePerson(ctx, otOps, PersonRequest{Tenant: "ot", Name: name})
		want(t, err, fault.Invalid, "is no name for a person")
	}
	_, err := r.CreatePerson(ctx, otOps, PersonRequest{Tenant: "ot", Name: "ANN"})
	want(t, err, fault.Conflict, "the tenant ot has a person ann already")
	if _, err := r.CreatePerson(ctx, itOps, PersonRequest{Tenant: "it", Name: "ann"}); err != nil {
		t.Errorf("in another tenant: %v", err)
	}
	_, err = r.CreatePerson(ctx, otOps, PersonRequest{Tenant: "ot", Name: "bob", Roles: roles{"king"}})
	want(t, err, fault.Invalid, "king")
	// The audit log calls people and programs by their names: no two have one.
	_, _, err = r.CreateToken(ctx, otOps, TokenRequest{Name: "Ann", Tenant: "ot", Role: RoleOwner})
	want(t, err, fault.Conflict, "a person called Ann")
	if _, _, err := r.CreateToken(ctx, otOps, TokenRequest{Name: "backup", Tenant: "ot", Role: RoleOwner}); err != nil {
		t.Fatal(err)
	}
	_, err = r.CreatePerson(ctx, otOps, PersonRequest{Tenant: "ot", Name: "backup"})
	want(t, err, fault.Conflict, "a program of the tenant ot has a token called backup")
}

func TestRolesOfPeople(t *testing.T) {
	r := plant(t)
	olga, ann := r.human("ot", "olga", owner), r.human("ot", "ann", operator)
	_, err := r.SetRoles(ctx, olga, olga.Person, roles{owner, approver}, "")
	want(t, err, fault.Denied, "nobody gives himself a role")
	_, err = r.SetRoles(ctx, olga, olga.Person, roles{}, "")
	want(t, err, fault.Conflict, "olga is the last owner of ot")
	_, err = r.DisablePerson(ctx, olga, olga.Person, "")
	want(t, err, fault.Conflict, "last owner")
	want(t, r.RemovePerson(ctx, otOps, olga.Person, ""), fault.Conflict, "last owner")
	p, err := r.SetRoles(ctx, olga, ann.Person, roles{owner, operator}, "a second owner")
	if err != nil || !slices.Equal(p.Roles, roles{owner, operator}) {
		t.Fatalf("%+v, %v", p, err)
	}
	if _, err = r.SetRoles(ctx, olga, olga.Person, roles{}, "rest"); err != nil { // to take one's own away is nobody's loss
		t.Fatal(err)
	}
	_, err = r.CreatePerson(ctx, olga, PersonRequest{Tenant: "ot", Name: "x"}) // olga's token still says owner; it does not count
	if err != nil {
		t.Errorf("the principal is of its request: %v", err)
	}
	// An administrator may leave a tenant without owners.
	if _, err := r.SetRoles(ctx, admin, ann.Person, nil, "start anew"); err != nil {
		t.Fatal(err)
	}
	if p, err := r.Person(ctx, admin, ann.Person); err != nil || len(p.Roles) != 0 || p.Roles == nil {
		t.Errorf("%+v, %v", p, err)
	}
}

func TestPersonalTokens(t *testing.T) {
	r := plant(t)
	olga := r.human("ot", "olga", owner)
	made, err := r.CreatePerson(ctx, olga, PersonRequest{Tenant: "ot", Name: "ann", Roles: roles{operator}})
	if err != nil {
		t.Fatal(err)
	}
	for _, life := range []time.Duration{-time.Hour, time.Second, 367 * day} {
		_, _, err := r.CreatePersonToken(ctx, olga, made.UID, PersonTokenRequest{Life: life})
		want(t, err, fault.Invalid, "cannot last")
	}
	first, _, err := r.CreatePersonToken(ctx, olga, made.UID, PersonTokenRequest{Life: 30 * day})
	if err != nil {
		t.Fatal(err)
	}
	ann, err := r.Authenticate(ctx, first)
	if err != nil || ann.Person != made.UID || ann.Role != "" || !slices.Equal(ann.Roles, roles{operator}) {
		t.Fatalf("%+v, %v", ann, err)
	}
	_, _, err = r.CreatePersonToken(ctx, olga, made.UID, PersonTokenRequest{})
	want(t, err, fault.Denied, "ann has a token and makes others himself")
	second, t2, err := r.CreatePersonToken(ctx, ann, made.UID, PersonTokenRequest{Name: "laptop"})
	if err != nil || t2.Name != "laptop" || t2.Person != made.UID || !t2.ExpiresAt.Equal(r.clk.Now().Add(90*day)) || t2.CreatedBy != "ann of ot" {
		t.Fatalf("%+v, %v", t2, err)
	}
	_, _, err = r.CreatePersonToken(ctx, ann, olga.Person, PersonTokenRequest{})
	want(t, err, fault.Denied, "for owners of the tenant")
	// People see and end their own, and no others'.
	if mine, err := r.ListTokens(ctx, ann); err != nil || len(mine) != 2 {
		t.Errorf("%+v, %v", mine, err)
	}
	_, err = r.PersonTokens(ctx, ann, olga.Person)
	want(t, err, fault.NotFound, "there is no person")
	hers, err := r.PersonTokens(ctx, olga, olga.Person)
	if err != nil || len(hers) != 1 {
		t.Fatalf("%+v, %v", hers, err)
	}
	want(t, r.RevokeToken(ctx, ann, hers[0].ID), fault.NotFound, "there is no token")
	if err := r.RevokeToken(ctx, ann, t2.ID); err != nil {
		t.Error(err)
	}
	_, err = r.Authenticate(ctx, second)
	want(t, err, fault.Unauthenticated, "was revoked")
	r.clk.Advance(30 * day)
	_, err = r.Authenticate(ctx, first)
	want(t, err, fault.Unauthenticated, "ended at 2026-12-22")
	if !strings.Contains(fault.Next(err), "sign in again: isthmus login") {
		t.Error(fault.Next(err))
	}
	// All have ended, so an owner helps again.
	if _, _, err := r.CreatePersonToken(ctx, olga, made.UID, PersonTokenRequest{}); err != nil {
		t.Error(err)
	}
	for i := range maxTokensOf {
		_, _, err = r.CreatePersonToken(ctx, ann, made.UID, PersonTokenRequest{Name: fmt.Sprint(i)})
	}
	want(t, err, fault.Exhausted, "ann has 20 tokens")
}

func TestEndedTokensAreForgotten(t *testing.T) {
	r := plant(t)
	r.human("ot", "olga", owner)
	r.clk.Advance(90*day + keepEndedTokens + time.Minute)
	if err := r.forget(ctx); err != nil {
		t.Fatal(err)
	}
	if list, err := r.ListTokens(ctx, admin); err != nil || len(list) != 0 {
		t.Errorf("%+v, %v", list, err)
	}
}

func TestDisabling(t *testing.T) {
	r := plant(t)
	olga := r.human("ot", "olga", owner)
	p, err := r.CreatePerson(ctx, olga, PersonRequest{Tenant: "ot", Name: "ann", Roles: roles{operator}})
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := r.CreatePersonToken(ctx, olga, p.UID, PersonTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	r.apply(admin, target("ot/plant-7/ssh", "press-4", "127.0.0.1:22"))
	r.letIn(p.UID, "ot/plant-7/ssh", time.Hour)
	if p, err = r.DisablePerson(ctx, olga, p.UID, "left"); err != nil || p.DisabledAt.IsZero() {
		t.Fatalf("%+v, %v", p, err)
	}
	if open, err := r.Grants(ctx, admin, GrantFilter{Tenant: "ot", Open: true}); err != nil || len(open) != 0 {
		t.Errorf("%+v, %v", open, err)
	}
	_, err = r.Authenticate(ctx, secret)
	want(t, err, fault.Unauthenticated, "was revoked")
	_, _, err = r.CreatePersonToken(ctx, olga, p.UID, PersonTokenRequest{})
	want(t, err, fault.Conflict, "ann is disabled")
	if p, err = r.DisablePerson(ctx, olga, p.UID, "again"); err != nil {
		t.Error(err)
	}
	if p, err = r.EnablePerson(ctx, olga, p.UID, "back"); err != nil || !p.DisabledAt.IsZero() {
		t.Errorf("%+v, %v", p, err)
	}
	_, err = r.Authenticate(ctx, secret)
	want(t, err, fault.Unauthenticated, "was revoked")
	if _, _, err = r.CreatePersonToken(ctx, olga, p.UID, PersonTokenRequest{}); err != nil {
		t.Error(err)
	}
	if got := r.steps("ot"); !slices.Equal(got[2:], []string{"disable ot/ann by olga of ot", "enable ot/ann by olga of ot"}) {
		t.Error(got)
	}
}

// A person's roles are looked up at each request: what was taken away is gone with the next one.
func TestRolesCountAtOnce(t *testing.T) {
	r := plant(t)
	olga, other := r.human("ot", "olga", owner), r.human("ot", "oscar", owner)
	_, t2, err := r.CreatePersonToken(ctx, olga, olga.Person, PersonTokenRequest{})
	if err != nil {
		t.Fatal(err)
	}
	secret, _, err := r.CreatePersonToken(ctx, olga, olga.Person, PersonTokenRequest{Name: t2.Name})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.SetRoles(ctx, other, olga.Person, roles{auditor}, ""); err != nil {
		t.Fatal(err)
	}
	now, err := r.Authenticate(ctx, secret)
	if err != nil || !slices.Equal(now.Roles, roles{auditor}) {
		t.Errorf("%+v, %v", now, err)
	}
	if err := r.RemovePerson(ctx, other, olga.Person, ""); err != nil {
		t.Fatal(err)
	}
	_, err = r.Authenticate(ctx, secret)
	want(t, err, fault.Unauthenticated, "")
}

func TestPeopleGoWithTheirTenant(t *testing.T) {
	r := newRig(t)
	r.apply(admin, tenant("ot"))
	r.human("ot", "olga", owner)
	if err := r.Delete(ctx, admin, key(t, resource.KindTenant, "ot"), ""); err != nil {
		t.Fatal(err)
	}
	r.apply(admin, tenant("ot"))
	if all, err := r.People(ctx, admin, "ot"); err != nil || len(all) != 0 {
		t.Errorf("%v, %v", all, err)
	}
}
