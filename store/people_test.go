package store_test

import (
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

func TestPeopleAreKept(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		ann := store.Person{
			UID: "u-ann", Tenant: "ot", Name: "ann@example.net", Provider: "corp", Issuer: "https://id.example.net", Subject: "s-1",
			Roles: []resource.TenantRole{resource.RoleOperator, resource.RoleApprover}, Created: t0, MadeBy: "olga of ot", SignedIn: t0.Add(time.Hour),
		}
		bob := store.Person{UID: "u-bob", Tenant: "ot", Name: "bob", Created: t0, MadeBy: "olga of ot"}
		update(t, st, func(tx *store.Tx) error {
			if err := tx.AddPerson(ann); err != nil {
				return err
			}
			return tx.AddPerson(bob)
		})
		for what, again := range map[string]store.Person{
			"the name":    {UID: "u-x", Tenant: "ot", Name: "bob", Created: t0},
			"the subject": {UID: "u-y", Tenant: "ot", Name: "y", Provider: "corp", Subject: "s-1", Created: t0},
		} {
			if err := st.Update(t.Context(), func(tx *store.Tx) error { return tx.AddPerson(again) }); fault.KindOf(err) != fault.Conflict {
				t.Errorf("%s again: %v", what, err)
			}
		}
		ann.Roles, ann.Disabled = []resource.TenantRole{resource.RoleAuditor}, t0.Add(2*time.Hour)
		update(t, st, func(tx *store.Tx) error { return tx.PutPerson(ann) })
		view(t, st, func(tx *store.Tx) error {
			for how, find := range map[string]func() (store.Person, bool, error){
				"uid":     func() (store.Person, bool, error) { return tx.Person("u-ann") },
				"name":    func() (store.Person, bool, error) { return tx.PersonNamed("ot", "ann@example.net") },
				"subject": func() (store.Person, bool, error) { return tx.PersonOf("ot", "corp", "s-1") },
			} {
				if got, ok, err := find(); err != nil || !ok || !reflect.DeepEqual(got, ann) {
					t.Errorf("by %s: %+v, %t, %v", how, got, ok, err)
				}
			}
			for how, find := range map[string]func() (store.Person, bool, error){
				"uid":     func() (store.Person, bool, error) { return tx.Person("u-none") },
				"tenant":  func() (store.Person, bool, error) { return tx.PersonNamed("it", "bob") },
				"subject": func() (store.Person, bool, error) { return tx.PersonOf("ot", "corp", "s-2") },
			} {
				if got, ok, err := find(); err != nil || ok {
					t.Errorf("by a %s nobody has: %+v, %v", how, got, err)
				}
			}
			for tenant, n := range map[string]int{"ot": 2, "it": 0, "": 2} {
				if all, err := tx.People(tenant); err != nil || len(all) != n || n == 2 && all[1].Name != "bob" {
					t.Errorf("of %q: %+v, %v", tenant, all, err)
				}
			}
			return nil
		})
		update(t, st, func(tx *store.Tx) error { return tx.RemovePerson("u-ann") })
		view(t, st, func(tx *store.Tx) error {
			if _, ok, err := tx.Person("u-ann"); ok || err != nil {
				t.Errorf("removed: %t, %v", ok, err)
			}
			return nil
		})
	})
}

func TestASignInIsUsedOnce(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		use := func(hash string, expires, now time.Duration) (fresh bool) {
			update(t, st, func(tx *store.Tx) (err error) {
				fresh, err = tx.UseSignIn([]byte(hash), t0.Add(expires), t0.Add(now))
				return err
			})
			return fresh
		}
		for i, c := range []struct {
			hash         string
			expires, now time.Duration
			fresh        bool
		}{
			{"a", 10 * time.Minute, 0, true}, {"a", 10 * time.Minute, time.Minute, false}, {"b", 10 * time.Minute, time.Minute, true},
			{"a", 20 * time.Minute, 10 * time.Minute, false}, {"a", 20 * time.Minute, 11 * time.Minute, true}, // forgotten by then
		} {
			if got := use(c.hash, c.expires, c.now); got != c.fresh {
				t.Errorf("%d: %s is fresh: %t", i, c.hash, got)
			}
		}
	})
}

func TestTokensOfPeople(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		session := store.APIToken{ID: "t1", Hash: []byte("h1"), Name: "sign-in at corp", Tenant: "ot", Person: "u-ann", Provider: "corp", Created: t0, MadeBy: "ann of ot", Expires: t0.Add(time.Hour)}
		program := store.APIToken{ID: "t2", Hash: []byte("h2"), Name: "backup", Tenant: "ot", Role: "owner", Created: t0, MadeBy: "olga of ot"}
		update(t, st, func(tx *store.Tx) error {
			if err := tx.AddAPIToken(session); err != nil {
				return err
			}
			return tx.AddAPIToken(program)
		})
		view(t, st, func(tx *store.Tx) error {
			if list, err := tx.TokensOf("u-ann"); err != nil || len(list) != 1 || !reflect.DeepEqual(list[0], session) {
				t.Errorf("%+v, %v", list, err)
			}
			return nil
		})
		for _, c := range []struct {
			before time.Duration
			left   []string
		}{{time.Hour, []string{"t1", "t2"}}, {time.Hour + 1, []string{"t2"}}} {
			update(t, st, func(tx *store.Tx) error { return tx.ForgetAPITokens(t0.Add(c.before)) })
			view(t, st, func(tx *store.Tx) error {
				list, err := tx.APITokens("ot", false)
				var got []string
				for _, k := range list {
					got = append(got, k.ID)
				}
				if err != nil || !slices.Equal(got, c.left) {
					t.Errorf("after %v: %v, %v", c.before, got, err)
				}
				return nil
			})
		}
	})
}
