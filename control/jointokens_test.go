package control

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/control/jointoken"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

// told renders join tokens as one line each.
func told(list []JoinTokenView) string {
	var out []string
	for _, v := range list {
		out = append(out, fmt.Sprintf("%s %s/%s %s %s", v.For, v.Tenant, v.Network, v.Name, v.State))
	}
	return strings.Join(out, "\n")
}

func TestJoinTokensAreListed(t *testing.T) {
	r := plant(t)
	joinToken := func(req JoinTokenRequest, p Principal) JoinToken {
		t.Helper()
		r.clk.Advance(time.Second)
		tok, err := r.CreateJoinToken(ctx, p, req)
		if err != nil {
			t.Fatal(err)
		}
		return tok
	}
	made := []JoinToken{
		joinToken(JoinTokenRequest{For: JoinAgent, Tenant: "ot", Network: "plant-7", Name: "used"}, otOps),
		joinToken(JoinTokenRequest{For: JoinAgent, Tenant: "ot", Network: "plant-7", Name: "old", TTL: time.Minute}, otOps),
		joinToken(JoinTokenRequest{For: JoinHub, Tenant: "ot", Network: "ot-cloud", Name: "lost"}, otOps),
		joinToken(JoinTokenRequest{For: JoinAgent, Tenant: "it", Network: "it-cloud", Name: "fresh"}, itOps),
		joinToken(JoinTokenRequest{For: JoinRelay, Name: "eu-1"}, admin),
	}
	used, err := r.Enrol(ctx, EnrolRequest{Secret: made[0].Secret, CSR: newCSR(t)})
	if err != nil {
		t.Fatal(err)
	}
	usedAt := r.clk.Now()
	if err := r.RevokeJoinToken(ctx, otOps, made[2].ID, "left on a desk"); err != nil {
		t.Fatal(err)
	}
	r.clk.Advance(2 * time.Minute)
	const ots = "agent ot/plant-7 used used\nagent ot/plant-7 old expired\nhub ot/ot-cloud lost revoked"
	for name, tc := range map[string]struct {
		who  Principal
		f    Filter
		want string
	}{
		"an administrator's":       {admin, Filter{}, ots + "\nagent it/it-cloud fresh unused\nrelay / eu-1 unused"},
		"an administrator's of ot": {admin, Filter{Tenant: "ot"}, ots},
		"an operator's":            {otOps, Filter{}, ots},
		"a reader's":               {otRead, Filter{}, ots},
		"of a network":             {otOps, Filter{Scope: "ot-cloud"}, "hub ot/ot-cloud lost revoked"},
		"another tenant's":         {itOps, Filter{Tenant: "ot"}, ""},
		"of no tenant there is":    {admin, Filter{Tenant: "zz"}, ""},
	} {
		list, err := r.ListJoinTokens(ctx, tc.who, tc.f)
		if got := told(list); got != tc.want || err != nil {
			t.Errorf("%s:\n%s\n%v\nwant\n%s", name, got, err, tc.want)
		}
	}
	list, err := r.ListJoinTokens(ctx, otOps, Filter{})
	if err != nil {
		t.Fatal(err)
	}
	if v := list[0]; v.UsedBy != string(used.ID) || !v.UsedAt.Equal(usedAt) || v.CreatedBy != "olga of ot" || !v.RevokedAt.IsZero() || !v.Expires.Equal(made[0].Expires) {
		t.Errorf("used: %+v", v)
	}
	if v := list[2]; v.RevokedBy != "olga of ot" || !v.RevokedAt.Equal(usedAt) || v.Reason != "left on a desk" || v.UsedBy != "" {
		t.Errorf("revoked: %+v", v)
	}
	shown, err := json.Marshal(list)
	if err != nil {
		t.Fatal(err)
	}
	for _, tok := range made {
		if text, err := jointoken.Parse(tok.Secret); err != nil || strings.Contains(string(shown), text.Secret) {
			t.Errorf("a list shows a secret, or %v", err)
		}
	}
	// They are forgotten in the end, all of them.
	r.clk.Advance(maxJoinTTL + 2*time.Hour)
	r.keep(ctx)
	if list, err := r.ListJoinTokens(ctx, admin, Filter{}); err != nil || len(list) != 0 {
		t.Errorf("a month later: %s, %v", told(list), err)
	}
}

func TestARevokedJoinTokenLetsNobodyIn(t *testing.T) {
	r := plant(t)
	tok := joinPlant(r, "gw")
	for range 2 { // what holds already is no error
		if err := r.RevokeJoinToken(ctx, otOps, tok.ID, "left on a desk"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: newCSR(t)})
	want(t, err, fault.Expired, "the join token was revoked at "+r.clk.Now().Format(time.RFC3339))
	if next := fault.Next(err); !strings.Contains(next, "isthmus token join --for agent --network ot/plant-7") {
		t.Errorf("next: %s", next)
	}
	r.restart()
	r.clk.Advance(2 * time.Hour)
	_, err = r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: newCSR(t)})
	want(t, err, fault.Expired, "was revoked at")
	recs, err := r.Audit(ctx, otOps, AuditFilter{Kind: "JoinToken", Path: tok.ID})
	if err != nil || len(recs) != 2 {
		t.Fatalf("%+v, %v", recs, err)
	}
	rec := recs[1]
	if rec.Operation != "revoke" || rec.Who != "olga of ot" || rec.Why != "left on a desk" || !strings.Contains(string(rec.Before), `"network":"plant-7"`) || rec.After != nil {
		t.Errorf("%+v", rec)
	}
	if err := r.VerifyAudit(ctx, otOps); err != nil {
		t.Error(err)
	}
}

func TestWhoRevokesWhichJoinTokens(t *testing.T) {
	r := plant(t)
	relay, err := r.CreateJoinToken(ctx, admin, JoinTokenRequest{For: JoinRelay})
	if err != nil {
		t.Fatal(err)
	}
	plantToken := joinPlant(r, "")
	for name, tc := range map[string]struct {
		who  Principal
		id   string
		why  string
		kind fault.Kind
	}{
		"a reader":          {otRead, plantToken.ID, "", fault.Denied},
		"another tenant":    {itOps, plantToken.ID, "", fault.NotFound},
		"a relay's":         {otOps, relay.ID, "", fault.NotFound},
		"none":              {admin, "aaaaaaaaaaaa", "", fault.NotFound},
		"a reason too long": {otOps, plantToken.ID, strings.Repeat("x", maxReason+1), fault.Invalid},
	} {
		err := r.RevokeJoinToken(ctx, tc.who, tc.id, tc.why)
		if fault.KindOf(err) != tc.kind {
			t.Errorf("%s: %v, not %s", name, err, tc.kind)
		}
	}
	hidden, missing := r.RevokeJoinToken(ctx, itOps, plantToken.ID, ""), r.RevokeJoinToken(ctx, itOps, "aaaaaaaaaaaa", "")
	if a, b := strings.ReplaceAll(hidden.Error(), plantToken.ID, "ID"), strings.ReplaceAll(missing.Error(), "aaaaaaaaaaaa", "ID"); a != b {
		t.Errorf("hidden and missing differ: %q, %q", a, b)
	}
	// The administrator revokes any.
	for _, id := range []string{relay.ID, plantToken.ID} {
		if err := r.RevokeJoinToken(ctx, admin, id, ""); err != nil {
			t.Error(err)
		}
	}
	_, err = r.Enrol(ctx, EnrolRequest{Secret: relay.Secret, CSR: newCSR(t), Address: "r.test:443"})
	want(t, err, fault.Expired, "was revoked")
	if next := fault.Next(err); !strings.HasSuffix(next, "isthmus token join --for relay") {
		t.Errorf("next: %s", next)
	}
}

// What joined with a token does not leave because somebody wants the token back; he is told what does it.
func TestAUsedJoinTokenIsNotRevoked(t *testing.T) {
	for _, as := range []Joiner{JoinAgent, JoinRelay} {
		r := plant(t)
		path, kind := "ot/plant-7/gw", resource.KindAgent
		if as == JoinRelay {
			path, kind = "relay-1", resource.KindRelay
		}
		id := r.join(as, path)
		list, err := r.ListJoinTokens(ctx, admin, Filter{})
		i := slices.IndexFunc(list, func(v JoinTokenView) bool { return v.UsedBy == string(id) })
		if err != nil || i < 0 {
			t.Fatalf("%s, %v", told(list), err)
		}
		err = r.RevokeJoinToken(ctx, admin, list[i].ID, "")
		want(t, err, fault.Conflict, "was used at "+list[i].UsedAt.Format(time.RFC3339)+" by "+string(id))
		if next := fault.Next(err); !strings.Contains(next, "isthmus delete "+string(as)+" "+path) {
			t.Errorf("next: %s", next)
		}
		if err := r.Delete(ctx, admin, key(t, kind, path), "stolen"); err != nil {
			t.Fatal(err)
		}
		if err := r.RevokeJoinToken(ctx, admin, list[i].ID, ""); !strings.Contains(fault.Next(err), "gone already") {
			t.Errorf("after the deletion: %v, next: %s", err, fault.Next(err))
		}
	}
}
