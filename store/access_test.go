package store_test

import (
	"encoding/hex"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store"
)

func grantOf(id, tenant, person string, s grant.State, asked time.Time) grant.Grant {
	who := grant.Person{ID: person, Name: person + "@example.net", Tenant: "home-of-" + person}
	g := grant.Grant{
		ID: id, Tenant: tenant, Target: tenant + "/n/" + id, TargetUID: "t-" + id, Person: who, RequestedBy: who, Kind: grant.Once, State: s, Reason: "spindle",
		RequestedAt: asked, For: time.Hour, Needed: 1,
	}
	switch s {
	case grant.Requested:
		g.WaitsUntil = asked.Add(24 * time.Hour)
	default:
		g.From, g.Until = asked, asked.Add(time.Hour)
	}
	return g
}

func TestGrantsAreFound(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		a := grantOf("a", "ot", "alice", grant.Requested, t0)
		b := grantOf("b", "ot", "bob", grant.Approved, t0.Add(time.Minute))
		c := grantOf("c", "it", "alice", grant.Expired, t0.Add(2*time.Minute))
		d := grantOf("d", "ot", "bob", grant.Approved, t0.Add(3*time.Minute))
		d.Kind, d.RequestedBy = grant.BreakGlass, a.Person
		update(t, st, func(tx *store.Tx) error {
			for _, g := range []grant.Grant{a, b, c, d} {
				if err := tx.PutGrant(g); err != nil {
					return err
				}
			}
			return nil
		})
		view(t, st, func(tx *store.Tx) error {
			if g, ok, err := tx.Grant("b"); err != nil || !ok || !reflect.DeepEqual(g, b) {
				t.Errorf("%+v\n%+v, %v", g, b, err)
			}
			for _, id := range []string{"z", "", "a\x00", "\xff"} {
				if _, ok, err := tx.Grant(id); ok || err != nil {
					t.Errorf("%q: %v, %v", id, ok, err)
				}
			}
			for name, q := range map[string]struct {
				f    store.GrantFilter
				want string
			}{
				"all": {store.GrantFilter{}, "dcba"}, "tenant": {store.GrantFilter{Tenant: "ot"}, "dba"}, "either": {store.GrantFilter{Either: "home-of-alice"}, "ca"},
				"person": {store.GrantFilter{Person: "alice"}, "ca"}, "open": {store.GrantFilter{Open: true}, "dba"}, "state": {store.GrantFilter{State: grant.Expired}, "c"},
				"target": {store.GrantFilter{Target: "ot/n/b"}, "b"}, "target uid": {store.GrantFilter{TargetUID: "t-b"}, "b"}, "name": {store.GrantFilter{PersonName: "bob@example.net"}, "db"},
				"side": {store.GrantFilter{Side: "alice"}, "dca"}, "side or tenant": {store.GrantFilter{Side: "alice", OrTenant: "ot"}, "dcba"}, "or tenant": {store.GrantFilter{OrTenant: "it"}, "c"},
				"unreviewed": {store.GrantFilter{Unreviewed: true}, "d"}, "before": {store.GrantFilter{Before: t0.Add(2 * time.Minute)}, "ba"}, "two": {store.GrantFilter{Limit: 2}, "dc"},
			} {
				list, err := tx.Grants(q.f)
				got := ""
				for _, g := range list {
					got += g.ID
				}
				if err != nil || got != q.want {
					t.Errorf("%s: %q, want %q, %v", name, got, q.want, err)
				}
			}
			if requested, open, err := tx.CountGrants("bob"); requested != 0 || open != 2 || err != nil {
				t.Error(requested, open, err)
			}
			if requested, open, err := tx.CountGrants("nobody"); requested != 0 || open != 0 || err != nil {
				t.Error(requested, open, err)
			}
			if due, ok, err := tx.NextDue(); !ok || !due.Equal(b.Until) || err != nil {
				t.Error(due, ok, err)
			}
			list, err := tx.DueGrants(d.Until, 10)
			if err != nil || len(list) != 2 || list[0].ID != "b" || list[1].ID != "d" {
				t.Errorf("%+v, %v", list, err)
			}
			return nil
		})
		var before, after int64
		view(t, st, func(tx *store.Tx) (err error) { before, err = tx.Revision(); return err })
		update(t, st, func(tx *store.Tx) error {
			b.State = grant.Revoked
			d.Steps = []grant.Step{{What: "review", At: t0}}
			if err := tx.PutGrant(b); err != nil {
				return err
			}
			return tx.PutGrant(d)
		})
		view(t, st, func(tx *store.Tx) (err error) {
			if after, err = tx.Revision(); err != nil || after != before+1 {
				t.Errorf("other servers see nothing of it: revision %d after %d, %v", after, before, err)
			}
			if list, err := tx.Grants(store.GrantFilter{Unreviewed: true}); len(list) != 0 || err != nil {
				t.Error(list, err)
			}
			due, ok, err := tx.NextDue()
			if !ok || !due.Equal(d.Until) {
				t.Error(due, ok, err)
			}
			return err
		})
	})
}

func TestSessionsAreFound(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		sess := func(n byte, person string, phase session.Phase) store.Session {
			s := store.Session{
				Record: session.Record{Session: hex.EncodeToString(slices.Repeat([]byte{n}, 16)), Phase: phase, At: t0.Add(time.Duration(n) * time.Minute), Grant: "g" + person, Target: "t1",
					Agent: "agent-" + person, Words: "\x00 and \u009b"},
				Tenant: "ot", TargetPath: "ot/n/t", PersonUID: person, PersonName: person, Home: "it", ApprovedBy: []string{"erin"},
			}
			if phase != session.Opened {
				s.EndedAt = s.At.Add(time.Minute)
			}
			return s
		}
		all := []store.Session{sess(1, "alice", session.Opened), sess(2, "bob", session.Ended), sess(3, "bob", session.Refused), sess(4, "alice", session.Opened)}
		update(t, st, func(tx *store.Tx) error {
			for _, s := range all {
				if err := tx.PutSession(s); err != nil {
					return err
				}
			}
			return tx.AddRecording(store.Recording{Session: all[1].Session, Tenant: "ot", Size: 7, SHA256: "ab", Received: t0, File: "f"})
		})
		view(t, st, func(tx *store.Tx) error {
			s, ok, err := tx.Session(all[1].Session)
			if err != nil || !ok || !reflect.DeepEqual(s, all[1]) {
				t.Errorf("%+v\n%+v, %v", s, all[1], err)
			}
			for name, q := range map[string]struct {
				f    store.SessionFilter
				want string
			}{
				"all": {store.SessionFilter{}, "4321"}, "open": {store.SessionFilter{Open: true}, "41"}, "refused": {store.SessionFilter{Refused: true}, "3"},
				"allowed": {store.SessionFilter{Allowed: true}, "421"}, "person": {store.SessionFilter{Person: "bob"}, "32"}, "agent": {store.SessionFilter{Agent: "agent-alice"}, "41"},
				"side": {store.SessionFilter{Side: "bob"}, "32"}, "side or tenant": {store.SessionFilter{Side: "bob", OrTenant: "ot"}, "4321"}, "tenant": {store.SessionFilter{OrTenant: "it"}, ""},
				"grant": {store.SessionFilter{Grant: "gbob"}, "32"}, "before": {store.SessionFilter{Before: t0.Add(3 * time.Minute)}, "21"}, "one": {store.SessionFilter{Limit: 1}, "4"},
				"target": {store.SessionFilter{Target: "ot/n/t", TargetUID: "t1", PersonUID: "bob", Tenant: "ot"}, "32"},
			} {
				list, err := tx.Sessions(q.f)
				got := ""
				for _, s := range list {
					got += s.Session[1:2]
				}
				if err != nil || got != q.want {
					t.Errorf("%s: %q, want %q, %v", name, got, q.want, err)
				}
			}
			byGrant, byTarget, err := tx.OpenSessions()
			if err != nil || byGrant["galice"] != 2 || byTarget["t1"] != 2 || len(byGrant) != 1 {
				t.Error(byGrant, byTarget, err)
			}
			if agents, err := tx.AgentsWithSessions(); err != nil || !slices.Equal(agents, []string{"agent-alice"}) {
				t.Error(agents, err)
			}
			have, err := tx.HaveRecordings(all)
			if err != nil || len(have) != 1 || !have[all[1].Session] {
				t.Error(have, err)
			}
			if have, err = tx.HaveRecordings(slices.Repeat(all, 100)); err != nil || len(have) != 1 {
				t.Error(have, err)
			}
			return nil
		})
		err := st.Update(ctx, func(tx *store.Tx) error {
			return tx.AddRecording(store.Recording{Session: all[1].Session, Tenant: "ot"})
		})
		if fault.KindOf(err) != fault.Conflict || err == nil {
			t.Error(err)
		}
		update(t, st, func(tx *store.Tx) error {
			if err := tx.LedThere("t1", "agent-bob", t0); err != nil {
				return err
			}
			if err := tx.LedThere("t1", "agent-bob", t0.Add(time.Hour)); err != nil {
				return err
			}
			if err := tx.ForgetLeaders(t0.Add(time.Minute)); err != nil {
				return err
			}
			if led, err := tx.Led("t1", "agent-bob"); !led || err != nil {
				t.Error(led, err)
			}
			if err := tx.ForgetLeaders(t0.Add(2 * time.Hour)); err != nil {
				return err
			}
			if led, err := tx.Led("t1", "agent-bob"); led || err != nil {
				t.Error(led, err)
			}
			if total, err := tx.RecordingBytes(); total != 7 || err != nil {
				t.Error(total, err)
			}
			old, err := tx.OldRecordings(t0.Add(time.Minute), 10)
			if err != nil || len(old) != 1 || old[0].File != "f" || !old[0].Received.Equal(t0) {
				t.Error(old, err)
			}
			if err := tx.RemoveRecording(all[1].Session); err != nil {
				return err
			}
			if err := tx.ForgetSessions(t0.Add(time.Hour), 1); err != nil {
				return err
			}
			list, err := tx.Sessions(store.SessionFilter{})
			if len(list) != 3 {
				t.Errorf("%d sessions are left", len(list))
			}
			return err
		})
	})
}

func TestDeliveriesComeOneByOne(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		st := open(t, dsn)
		hook := func(id string) store.Webhook {
			return store.Webhook{ID: id, Tenant: "ot", Shown: "https://x/…", Events: []string{"deny", "request"}, Sealed: []byte{1, 0, 2}, Created: t0, MadeBy: "olga"}
		}
		update(t, st, func(tx *store.Tx) error {
			for _, id := range []string{"h1", "h2"} {
				if err := tx.AddWebhook(hook(id)); err != nil {
					return err
				}
				for i := range 3 {
					d := store.Delivery{ID: fmt.Sprintf("%s-%d", id, i), Webhook: id, Body: "{}", Created: t0.Add(time.Duration(i) * time.Second), Due: t0.Add(time.Duration(i) * time.Second)}
					if err := tx.AddDelivery(d, 2); err != nil {
						return err
					}
				}
			}
			return nil
		})
		due := func(now time.Time) (out []store.Delivery) {
			t.Helper()
			view(t, st, func(tx *store.Tx) (err error) { out, err = tx.DueDeliveries(now, 10); return err })
			return out
		}
		now := t0.Add(time.Minute)
		list := due(now)
		if len(list) != 2 || list[0].ID != "h1-1" || list[1].ID != "h2-1" { // the oldest of three had no room
			t.Fatalf("%+v", list)
		}
		update(t, st, func(tx *store.Tx) error {
			if ok, err := tx.TakeDelivery(list[0], now.Add(time.Minute)); !ok || err != nil {
				t.Error(ok, err)
			}
			ok, err := tx.TakeDelivery(list[0], now.Add(time.Minute))
			if ok {
				t.Error("a delivery was taken twice")
			}
			return err
		})
		if list = due(now); len(list) != 2 || list[1].ID != "h1-2" {
			t.Errorf("%+v", list)
		}
		update(t, st, func(tx *store.Tx) error {
			return tx.PutOff(store.Delivery{ID: "h1-1", Webhook: "h1"}, now.Add(10*time.Second))
		})
		if list = due(now); len(list) != 1 || list[0].Webhook != "h2" {
			t.Errorf("a webhook that failed is tried at once: %+v", list)
		}
		if list = due(now.Add(10 * time.Second)); len(list) != 2 || list[1].Attempts != 1 {
			t.Errorf("%+v", list)
		}
		update(t, st, func(tx *store.Tx) error {
			if err := tx.SetWebhookState("h1", "failed"); err != nil {
				return err
			}
			if err := tx.RemoveDelivery("h1-1"); err != nil {
				return err
			}
			h, ok, err := tx.Webhook("h1")
			if err != nil || !ok || h.State != "failed" || h.Waiting != 1 || !slices.Equal(h.Events, hook("h1").Events) || !slices.Equal(h.Sealed, []byte{1, 0, 2}) {
				t.Errorf("%+v, %v", h, err)
			}
			if err := tx.RemoveWebhook("h2"); err != nil {
				return err
			}
			all, err := tx.Webhooks("")
			if len(all) != 1 {
				t.Errorf("%+v", all)
			}
			return err
		})
		view(t, st, func(tx *store.Tx) error {
			at, ok, err := tx.NextDelivery()
			if !ok || !at.Equal(now.Add(10*time.Second)) {
				t.Error(at, ok, err)
			}
			return err
		})
	})
}
