package store_test

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"reflect"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

var (
	ctx = context.Background()
	t0  = time.Date(2026, 11, 22, 3, 0, 0, 123456789, time.UTC)
)

func network(tenant, name, uid string) *resource.Network {
	o, _ := resource.New(resource.KindNetwork)
	n := o.(*resource.Network)
	n.Metadata = resource.Meta{
		Tenant: tenant, Name: name, UID: uid, Generation: 1, CreatedAt: t0, UpdatedAt: t0, Labels: map[string]string{"site": name},
	}
	n.Spec.AddressRanges = []netip.Prefix{netip.MustParsePrefix("10.7.0.0/24")}
	return n
}

func endpoint(name, uid string) *resource.PrivateEndpoint {
	o, _ := resource.New(resource.KindPrivateEndpoint)
	e := o.(*resource.PrivateEndpoint)
	e.Metadata = resource.Meta{Tenant: "ot", Network: "plant-7", Name: name, UID: uid, Generation: 1, CreatedAt: t0, UpdatedAt: t0}
	e.Spec.Service = "it/cloud/hub"
	return e
}

func update(t *testing.T, st *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := st.Update(ctx, fn); err != nil {
		t.Fatal(err)
	}
}

func view(t *testing.T, st *store.Store, fn func(tx *store.Tx) error) {
	t.Helper()
	if err := st.View(ctx, fn); err != nil {
		t.Fatal(err)
	}
}

func TestNounsComeBackAsTheyWere(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		want := network("ot", "plant-7", "n1")
		e := endpoint("hub", "e1")
		e.Status.Connection = resource.Connection{State: resource.Pending, LinkID: 4_000_000_000, RequestedAt: t0}
		update(t, st, func(tx *store.Tx) error {
			return errors.Join(tx.Insert(want, ""), tx.Insert(network("it", "cloud", "n2"), ""), tx.Insert(e, "s1"))
		})
		if err := st.Close(); err != nil {
			t.Fatal(err)
		}
		st = open(t, dsn)
		view(t, st, func(tx *store.Tx) error {
			got, err := tx.Get(want.Key())
			if err != nil || !reflect.DeepEqual(got, want) {
				t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
			}
			byUID, err := tx.ByUID("e1")
			if err != nil || !reflect.DeepEqual(byUID, e) {
				t.Errorf("got  %+v, %v\nwant %+v", byUID, err, e)
			}
			users, err := tx.Referring("s1")
			if err != nil || len(users) != 1 || users[0].Head().Metadata.UID != "e1" {
				t.Errorf("Referring = %v, %v", users, err)
			}
			none, err := tx.Referring("")
			if err != nil || len(none) != 0 {
				t.Errorf("what refers to nothing is listed: %v, %v", none, err)
			}
			all, err := tx.List(resource.KindNetwork, store.Filter{})
			if err != nil || len(all) != 2 || all[0].Head().Metadata.Tenant != "it" {
				t.Errorf("List = %v, %v", all, err)
			}
			ot, err := tx.List(resource.KindNetwork, store.Filter{Tenant: "ot"})
			if err != nil || len(ot) != 1 {
				t.Errorf("List of ot = %v, %v", ot, err)
			}
			_, err = tx.Get(resource.Key{Kind: resource.KindNetwork, Tenant: "ot", Name: "plant-8"})
			if fault.KindOf(err) != fault.NotFound {
				t.Errorf("Get of nothing: %v", err)
			}
			return nil
		})
	})
}

func TestAFunctionThatFailsLeavesNothing(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		mine := errors.New("mine")
		err := st.Update(ctx, func(tx *store.Tx) error {
			if err := tx.Insert(network("ot", "a", "n1"), ""); err != nil {
				return err
			}
			return mine
		})
		if !errors.Is(err, mine) {
			t.Errorf("the function's error came back as %v", err)
		}
		func() {
			defer func() { _ = recover() }()
			_ = st.Update(ctx, func(tx *store.Tx) error {
				if err := tx.Insert(network("ot", "b", "n2"), ""); err != nil {
					return err
				}
				panic("in the middle")
			})
		}()
		view(t, st, func(tx *store.Tx) error {
			if all, err := tx.AllBut(""); err != nil || len(all) != 0 {
				t.Errorf("left behind: %v, %v", all, err)
			}
			if r, err := tx.Revision(); err != nil || r != 0 {
				t.Errorf("revision = %d, %v", r, err)
			}
			return nil
		})
		update(t, st, func(tx *store.Tx) error { return tx.Insert(network("ot", "a", "n1"), "") }) // the writer is free again
		if err := st.View(ctx, func(tx *store.Tx) error { return tx.Insert(network("ot", "c", "n3"), "") }); err == nil {
			t.Error("a View can write")
		}
	})
}

func TestEachThingIsGivenOnce(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		a := netip.MustParseAddr("10.7.0.4")
		update(t, st, func(tx *store.Tx) error {
			return errors.Join(tx.Insert(network("ot", "plant-7", "n1"), ""), tx.Insert(network("it", "cloud", "n2"), ""),
				tx.Insert(endpoint("one", "e1"), "s"), tx.Insert(endpoint("two", "e2"), "s"), tx.TakeAddress("n1", a, "e1"))
		})
		for name, tc := range map[string]func(tx *store.Tx) error{
			"identity": func(tx *store.Tx) error { return tx.Insert(network("ot", "plant-7", "n9"), "") },
			"uid":      func(tx *store.Tx) error { return tx.Insert(network("ot", "plant-9", "n1"), "") },
			"address":  func(tx *store.Tx) error { return tx.TakeAddress("n1", a, "e2") },
			"network in use": func(tx *store.Tx) error {
				return tx.Remove(resource.Key{Kind: resource.KindNetwork, Tenant: "ot", Name: "plant-7"})
			},
			"join token": func(tx *store.Tx) error {
				return errors.Join(tx.AddJoinToken(store.JoinToken{ID: "j", Hash: []byte{1}, Expires: t0}), tx.UseJoinToken("j", store.JoinUse{Key: "k", By: "a", At: t0}),
					tx.UseJoinToken("j", store.JoinUse{Key: "l", By: "b", At: t0}))
			},
		} {
			if err := st.Update(ctx, tc); fault.KindOf(err) != fault.Conflict {
				t.Errorf("%s twice: %v", name, err)
			}
		}
		update(t, st, func(tx *store.Tx) error {
			if ok, err := tx.TakeLink(7, "e1"); !ok || err != nil {
				t.Errorf("TakeLink = %t, %v", ok, err)
			}
			if ok, err := tx.TakeLink(7, "e2"); ok || err != nil {
				t.Errorf("a link id is given twice: %t, %v", ok, err)
			}
			return tx.TakeAddress("n2", a, "e2") // another network may have the same range
		})
		update(t, st, func(tx *store.Tx) error { return tx.Remove(endpoint("one", "e1").Key()) })
		update(t, st, func(tx *store.Tx) error {
			used, err := tx.Addresses("n1")
			if len(used) != 0 || err != nil {
				t.Errorf("a deleted endpoint keeps %v, %v", used, err)
			}
			if ok, err := tx.TakeLink(7, "e2"); !ok || err != nil {
				t.Errorf("a deleted endpoint keeps its link id: %v", err)
			}
			return err
		})
	})
}

func TestAJoinTokenHasSoManyUses(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		use := func(key string) store.JoinUse { return store.JoinUse{Key: key, By: "spiffe " + key, At: t0} }
		update(t, st, func(tx *store.Tx) error {
			return errors.Join(
				tx.AddJoinToken(store.JoinToken{ID: "j", Hash: []byte{1}, Tenant: "ot", Network: "n", Created: t0, Expires: t0.Add(time.Hour), Uses: 2, Ephemeral: time.Hour}),
				tx.AddJoinToken(store.JoinToken{ID: "k", Hash: []byte{1}, Tenant: "ot", Network: "n", Created: t0, Expires: t0.Add(time.Hour), Uses: 2}),
				tx.UseJoinToken("j", use("a")), tx.UseJoinToken("k", use("a")))
		})
		if err := st.Update(ctx, func(tx *store.Tx) error { return tx.UseJoinToken("j", use("a")) }); fault.KindOf(err) != fault.Conflict {
			t.Errorf("one key joined twice: %v", err)
		}
		update(t, st, func(tx *store.Tx) error {
			got, ok, err := tx.JoinToken("j")
			if !ok || err != nil || got.Uses != 2 || got.Used != 1 || got.UsedBy != "spiffe a" || got.Ephemeral != time.Hour {
				t.Errorf("%+v, %t, %v", got, ok, err)
			}
			if ok, err := tx.RevokeJoinToken("k", t0, "x", "y"); !ok || err != nil {
				t.Errorf("a token with a use left is not revoked: %t, %v", ok, err)
			}
			return tx.UseJoinToken("j", use("b"))
		})
		for id, key := range map[string]string{"j": "c", "k": "c"} {
			if err := st.Update(ctx, func(tx *store.Tx) error { return tx.UseJoinToken(id, use(key)) }); fault.KindOf(err) != fault.Conflict {
				t.Errorf("token %s: %v", id, err)
			}
		}
		update(t, st, func(tx *store.Tx) error {
			if ok, err := tx.RevokeJoinToken("j", t0, "x", "y"); ok || err != nil {
				t.Errorf("a token that is used up is revoked: %v", err)
			}
			if u, ok, err := tx.JoinUse("j", "b"); !ok || err != nil || u.By != "spiffe b" || !u.At.Equal(t0) {
				t.Errorf("%+v, %t, %v", u, ok, err)
			}
			if _, ok, err := tx.JoinUse("j", "c"); ok || err != nil {
				t.Errorf("a use that was none: %t, %v", ok, err)
			}
			return tx.DropJoinTokens("ot", "n")
		})
		update(t, st, func(tx *store.Tx) error {
			_, ok, err := tx.JoinUse("j", "b")
			if ok {
				t.Error("uses outlive their token")
			}
			return err
		})
	})
}

// Every kind is kept and comes back as it was, and is listed by its version.
func TestEveryKindIsKept(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		var all []resource.Object
		for i, k := range resource.Kinds() {
			o, _ := resource.New(k)
			m := &o.Head().Metadata
			*m = resource.Meta{Name: "x", UID: fmt.Sprint("u", i), Generation: 3, CreatedAt: t0, UpdatedAt: t0.Add(time.Nanosecond), Labels: map[string]string{"a": "b"}}
			switch s, _ := resource.ScopeOf(k); s {
			case resource.ScopeNetwork:
				m.Tenant, m.Network = "ot", "n"
			case resource.ScopeZone:
				m.Tenant, m.Zone = "ot", "z"
			case resource.ScopeTenant:
				m.Tenant = "ot"
			case resource.ScopeDeployment:
			}
			if a, ok := o.(*resource.Allowlist); ok {
				a.Spec = resource.AllowlistSpec{Owner: "Fabrikam", Rules: []resource.AllowRule{{Name: "r", Sources: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}, Expires: t0}}}
			}
			all = append(all, o)
		}
		update(t, st, func(tx *store.Tx) error {
			for _, o := range all {
				if err := tx.Insert(o, ""); err != nil {
					return err
				}
			}
			return nil
		})
		update(t, st, func(tx *store.Tx) error {
			for _, o := range all {
				k := o.Head().Key()
				got, err := tx.Get(k)
				if err != nil || !reflect.DeepEqual(got, o) {
					t.Errorf("%s: %+v, %v", k, got, err)
				}
				list, err := tx.Versions(k.Kind)
				m := o.Head().Metadata
				if err != nil || len(list) != 1 || list[0] != (store.Version{Key: k, UID: m.UID, Generation: 3, UpdatedAt: m.UpdatedAt}) {
					t.Errorf("%s: %+v, %v", k, list, err)
				}
			}
			rest, err := tx.AllBut(resource.KindAllowlist)
			if err != nil || len(rest) != len(all)-1 {
				t.Errorf("%d of %d, %v", len(rest), len(all)-1, err)
			}
			return nil
		})
	})
}

func TestUpdatesAreOneAfterTheOther(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		// Two stores on one database are two servers.
		stores := []*store.Store{open(t, dsn), open(t, dsn)}
		var wg sync.WaitGroup
		for i := range 40 {
			wg.Go(func() {
				if err := stores[i%2].Update(ctx, func(tx *store.Tx) error {
					v, err := tx.Setting("count")
					if err != nil {
						return err
					}
					return tx.SetSetting("count", v+"x")
				}); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		view(t, stores[0], func(tx *store.Tx) error {
			v, err := tx.Setting("count")
			if len(v) != 40 {
				t.Errorf("%d of 40 updates are there", len(v))
			}
			return err
		})
	})
}

func TestTokensAndKeys(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		j := store.JoinToken{Uses: 1, ID: "j", Hash: []byte{1, 2}, For: "agent", Tenant: "ot", Network: "plant-7", Name: "gw", Created: t0, MadeBy: "alice", Expires: t0.Add(time.Hour)}
		a := store.APIToken{ID: "a", Hash: []byte{3}, Name: "ci", Tenant: "ot", Role: "owner", Created: t0, MadeBy: "alice"}
		s, _ := resource.New(resource.KindService)
		s.Head().Metadata = resource.Meta{Tenant: "ot", Network: "plant-7", Name: "hub", UID: "s1"}
		update(t, st, func(tx *store.Tx) error {
			return errors.Join(tx.AddJoinToken(j), tx.AddAPIToken(a), tx.AddAPIToken(store.APIToken{ID: "b", Hash: []byte{4}}),
				tx.Insert(s, ""), tx.SetLinkKey("s1", []byte("k1")), tx.SetLinkKey("s1", []byte("k2")),
				tx.Revoke(store.Revoked{ID: "spiffe://x", Tenant: "ot", Network: "plant-7", NotAfter: t0}))
		})
		update(t, st, func(tx *store.Tx) error {
			if got, ok, err := tx.JoinToken("j"); !ok || err != nil || !reflect.DeepEqual(got, j) {
				t.Errorf("join token: %+v, %t, %v", got, ok, err)
			}
			if _, ok, err := tx.JoinToken("none"); ok || err != nil {
				t.Errorf("no join token: %t, %v", ok, err)
			}
			if got, ok, err := tx.APIToken("a"); !ok || err != nil || !reflect.DeepEqual(got, a) {
				t.Errorf("api token: %+v, %t, %v", got, ok, err)
			}
			if all, err := tx.APITokens("", true); len(all) != 2 || err != nil {
				t.Errorf("all tokens: %v, %v", all, err)
			}
			if ots, err := tx.APITokens("ot", false); len(ots) != 1 || err != nil {
				t.Errorf("ot's tokens: %v, %v", ots, err)
			}
			if keys, err := tx.LinkKeys(); err != nil || string(keys["s1"]) != "k2" {
				t.Errorf("link keys: %v, %v", keys, err)
			}
			if err := tx.TouchAPIToken("a", t0); err != nil {
				return err
			}
			for i, want := range []bool{true, false} {
				if ok, err := tx.RevokeAPIToken("a", t0.Add(time.Minute)); ok != want || err != nil {
					t.Errorf("revocation %d: %t, %v", i, ok, err)
				}
			}
			if err := tx.AddJoinToken(store.JoinToken{ID: "k", Hash: []byte{5}, For: "relay", Created: t0.Add(time.Second), Expires: t0.Add(time.Hour)}); err != nil {
				return err
			}
			if all, err := tx.JoinTokens("", true); err != nil || len(all) != 2 || !reflect.DeepEqual(all[0], j) || all[1].ID != "k" {
				t.Errorf("all join tokens: %+v, %v", all, err)
			}
			if ots, err := tx.JoinTokens("ot", false); err != nil || len(ots) != 1 || !reflect.DeepEqual(ots[0], j) {
				t.Errorf("ot's join tokens: %+v, %v", ots, err)
			}
			for i, want := range []bool{true, false} {
				if ok, err := tx.RevokeJoinToken("k", t0.Add(time.Minute), "alice", "lost"); ok != want || err != nil {
					t.Errorf("revocation %d of a join token: %t, %v", i, ok, err)
				}
			}
			if k, _, err := tx.JoinToken("k"); err != nil || !k.Revoked.Equal(t0.Add(time.Minute)) || k.RevokedBy != "alice" || k.Reason != "lost" {
				t.Errorf("revoked join token: %+v, %v", k, err)
			}
			if err := tx.UseJoinToken("k", store.JoinUse{Key: "key", By: "spiffe://x", At: t0}); fault.KindOf(err) != fault.Conflict {
				t.Errorf("a revoked join token is used: %v", err)
			}
			if err := tx.UseJoinToken("j", store.JoinUse{Key: "key", By: "spiffe://x", At: t0}); err != nil {
				return err
			}
			if ok, err := tx.RevokeJoinToken("j", t0, "alice", ""); ok || err != nil {
				t.Errorf("a used join token is revoked: %t, %v", ok, err)
			}
			if n, err := tx.ForgetRevoked(t0.Add(1)); n != 1 || err != nil {
				t.Errorf("ForgetRevoked: %d, %v", n, err)
			}
			if n, err := tx.ForgetJoinTokens(t0); n != 0 || err != nil {
				t.Errorf("ForgetJoinTokens: %d, %v", n, err)
			}
			return tx.DropJoinTokens("ot", "plant-7")
		})
		view(t, st, func(tx *store.Tx) error {
			got, _, err := tx.APIToken("a")
			if !got.LastUsed.Equal(t0) || !got.Revoked.Equal(t0.Add(time.Minute)) {
				t.Errorf("token after use and revocation: %+v", got)
			}
			if _, ok, _ := tx.JoinToken("j"); ok {
				t.Error("a network's join token outlives it")
			}
			return err
		})
	})
}
