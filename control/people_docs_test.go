package control

import (
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// The tables of docs/people.md say who may do what. Here each cell is tried.
func TestTheTableOfRoles(t *testing.T) {
	page, err := os.ReadFile("../docs/people.md")
	if err != nil {
		t.Fatal(err)
	}
	r := plant(t)
	r.apply(admin, target("ot/plant-7/ssh", "press-4", "127.0.0.1:22"))
	alice := r.human("ot", "alice", operator)
	deeds := map[string]func(p Principal) error{
		"see networks": func(p Principal) error {
			_, err := r.Get(ctx, p, key(t, resource.KindTarget, "ot/plant-7/ssh"))
			return err
		},
		"change networks": func(p Principal) error {
			_, err := r.Apply(ctx, p, []resource.Object{network("ot/plant-7", "10.7.0.0/24")}, ApplyOptions{DryRun: true})
			return err
		},
		"change access policies": func(p Principal) error {
			_, err := r.Apply(ctx, p, []resource.Object{policy("ot/default")}, ApplyOptions{DryRun: true})
			return err
		},
		"make people": func(p Principal) error {
			_, err := r.CreatePerson(ctx, p, PersonRequest{Tenant: "ot", Name: "x" + letters(8)})
			return err
		},
		"make and revoke tokens": func(p Principal) error {
			_, _, err := r.CreateToken(ctx, p, TokenRequest{Name: "x" + letters(8), Tenant: "ot", Role: RoleReader})
			return err
		},
		"see tokens of others": func(p Principal) error {
			_, err := r.PersonTokens(ctx, p, alice.Person)
			return err
		},
		"ask to be let": func(p Principal) error {
			_, err := r.RequestGrant(ctx, p, GrantRequest{Target: "ot/plant-7/ssh", Reason: "a test", For: time.Minute})
			return err
		},
		"approve, deny": func(p Principal) error {
			g, err := r.RequestGrant(ctx, alice, GrantRequest{Target: "ot/plant-7/ssh", Reason: "a test", For: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			r.clk.Advance(time.Hour) // for the next
			if _, err = r.DecideGrant(ctx, p, g.ID, DenyGrant, "a test", 0); err != nil {
				_, withdrawn := r.DecideGrant(ctx, alice, g.ID, RevokeGrant, "a test", 0)
				if withdrawn != nil {
					t.Fatal(withdrawn)
				}
			}
			return err
		},
		"open recordings": func(p Principal) error {
			_, err := r.Recording(ctx, p, strings.Repeat("0", 32))
			if fault.KindOf(err) == fault.NotFound { // he would get it if there were one
				return nil
			}
			return err
		},
		"read the audit log": func(p Principal) error {
			_, err := r.Audit(ctx, p, AuditFilter{})
			return err
		},
	}
	tables := regexp.MustCompile(`(?m)^\| a (person|program) may \|(.*)\|\n\|[-|]+\|\n((?:\|.*\|\n)+)`).FindAllStringSubmatch(string(page), -1)
	if len(tables) != 2 {
		t.Fatalf("%d tables", len(tables))
	}
	cells := 0
	for _, table := range tables {
		who := strings.Split(table[2], "|")
		for row := range strings.Lines(table[3]) {
			cols := strings.Split(strings.Trim(row, "|\n"), "|")
			var deed func(Principal) error
			for words, d := range deeds {
				if strings.HasPrefix(strings.TrimSpace(cols[0]), words) {
					deed = d
				}
			}
			if deed == nil || len(cols) != len(who)+1 {
				t.Fatalf("nobody knows how to try %q", row)
			}
			for i, w := range who {
				p := asOne(r, table[1] == "person", strings.TrimSpace(w))
				err := deed(p)
				may := strings.TrimSpace(cols[i+1]) == "yes"
				if k := fault.KindOf(err); may != (err == nil) || err != nil && k != fault.Denied && k != fault.NotFound {
					t.Errorf("%s %s, as %q says %v: %v", p.Who(), strings.TrimSpace(cols[0]), cols[i+1], may, err)
				}
				cells++
			}
		}
	}
	if cells != 100 {
		t.Errorf("%d cells", cells)
	}
}

// asOne is a person, or a program, with one role.
func asOne(r *rig, person bool, role string) Principal {
	switch {
	case person:
		return r.human("ot", role+"-"+letters(6), resource.TenantRole(role))
	case Role(role) == RoleAdmin:
		return admin
	}
	return Principal{Name: role, Tenant: "ot", Role: Role(role)}
}
