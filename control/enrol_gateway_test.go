package control

import (
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
)

func (r *rig) token(req JoinTokenRequest) JoinToken {
	r.t.Helper()
	tok, err := r.CreateJoinToken(ctx, otOps, req)
	if err != nil {
		r.t.Fatal(err)
	}
	return tok
}

func TestATokenForAScaleSet(t *testing.T) {
	r := plant(t)
	tok := r.token(JoinTokenRequest{For: JoinGateway, Tenant: "ot", Network: "ot-cloud", Uses: 3, EphemeralAfter: time.Hour})
	csr := newCSR(t)
	first, err := r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: csr})
	if err != nil {
		t.Fatal(err)
	}
	again, err := r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: csr})
	if err != nil || again.ID != first.ID {
		t.Errorf("asking again with the same key gave %s, %v", again.ID, err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	joined, refused := map[identity.ID]bool{first.ID: true}, 0
	for range 6 {
		wg.Go(func() {
			reply, err := r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: newCSR(t)})
			mu.Lock()
			defer mu.Unlock()
			if err == nil {
				joined[reply.ID] = true
			} else if refused++; fault.KindOf(err) != fault.Conflict || !strings.Contains(fault.Message(err), "used 3 times") {
				t.Errorf("one too many: %v", err)
			}
		})
	}
	wg.Wait()
	if len(joined) != 3 || refused != 4 {
		t.Errorf("%d joined, %d were refused", len(joined), refused)
	}
	for id := range joined {
		p, err := r.plan("test", id)
		if err != nil || p.Self.Role != resource.RoleGateway {
			t.Errorf("%s: %+v, %v", id, p.Self, err)
		}
	}
	records, err := r.Audit(ctx, otOps, AuditFilter{Kind: "Agent"})
	if err != nil || len(records) != 3 || records[0].Operation != "enrol" {
		t.Errorf("%d records of three who joined, %v", len(records), err)
	}
	list, err := r.ListJoinTokens(ctx, otOps, Filter{})
	if err != nil || len(list) != 1 || list[0].State != JoinUsed || list[0].Used != 3 || list[0].Uses != 3 || list[0].EphemeralAfter != "1h0m0s" {
		t.Errorf("%+v, %v", list, err)
	}
	want(t, r.RevokeJoinToken(ctx, otOps, tok.ID, ""), fault.Conflict, "used 3 times")
	r.clk.Advance(askAgain)
	_, err = r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: csr})
	want(t, err, fault.Conflict, "joined already")
}

func TestATokenWithUsesLeftIsRevoked(t *testing.T) {
	r := plant(t)
	tok := r.token(JoinTokenRequest{For: JoinAgent, Tenant: "ot", Network: "plant-7", Uses: 2})
	if _, err := r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: newCSR(t)}); err != nil {
		t.Fatal(err)
	}
	list, err := r.ListJoinTokens(ctx, otOps, Filter{})
	if err != nil || len(list) != 1 || list[0].State != JoinUnused || list[0].Used != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := r.RevokeJoinToken(ctx, otOps, tok.ID, "enough"); err != nil {
		t.Fatal(err)
	}
	_, err = r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: newCSR(t)})
	want(t, err, fault.Expired, "revoked")
}

func TestWhatATokenCannotAskFor(t *testing.T) {
	r := plant(t)
	for words, req := range map[string]JoinTokenRequest{
		"1001 uses are not possible":         {For: JoinAgent, Tenant: "ot", Network: "plant-7", Uses: 1001},
		"-1 uses are not possible":           {For: JoinAgent, Tenant: "ot", Network: "plant-7", Uses: -1},
		"2 processes cannot all be called a": {For: JoinAgent, Tenant: "ot", Network: "plant-7", Uses: 2, Name: "a"},
		"a hub does not come and go":         {For: JoinHub, Tenant: "ot", Network: "plant-7", EphemeralAfter: time.Hour},
		"seen for 1m0s is not possible":      {For: JoinGateway, Tenant: "ot", Network: "plant-7", EphemeralAfter: time.Minute},
		"a gateway needs a tenant":           {For: JoinGateway},
	} {
		_, err := r.CreateJoinToken(ctx, admin, req)
		want(t, err, fault.Invalid, words)
	}
}

func TestMembersThatComeAndGoLeaveNothingBehind(t *testing.T) {
	r := plant(t)
	keeps := r.join(JoinGateway, "ot/ot-cloud/keeps")
	tok := r.token(JoinTokenRequest{For: JoinGateway, Tenant: "ot", Network: "ot-cloud", Uses: 4, EphemeralAfter: time.Hour})
	ids := map[string]identity.ID{}
	for _, name := range []string{"goes", "watches", "reports"} {
		reply, err := r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, Name: name, CSR: newCSR(t)})
		if err != nil {
			t.Fatal(err)
		}
		ids[name] = reply.ID
	}
	there := func() (names []string) {
		list, err := r.List(ctx, otOps, resource.KindAgent, Filter{Scope: "ot-cloud"})
		if err != nil {
			t.Fatal(err)
		}
		for _, o := range list {
			names = append(names, o.Head().Metadata.Name)
		}
		return names
	}
	plans, stop := r.watch(ids["watches"])
	<-plans
	relay := r.join(JoinRelay, "relay-1")
	r.keep(ctx)
	r.clk.Advance(59 * time.Minute)
	r.keep(ctx)
	if got := there(); len(got) != 4 {
		t.Fatalf("after 59 minutes there are %v", got)
	}
	if err := r.Report(ctx, ids["reports"], AgentReport{}); err != nil {
		t.Fatal(err)
	}
	r.clk.Advance(2 * time.Minute)
	r.keep(ctx)
	if got := strings.Join(there(), " "); got != "keeps reports watches" {
		t.Fatalf("after an hour there are %s", got)
	}
	if p, err := r.plan("test", relay); err != nil || len(p.Revoked) != 1 || p.Revoked[0] != string(ids["goes"]) {
		t.Errorf("who went is not revoked: %v, %v", p.Revoked, err)
	}
	if _, err := r.Renew(ctx, ids["goes"], newCSR(t)); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("who went renews: %v", err)
	}
	records, err := r.Audit(ctx, otOps, AuditFilter{Kind: "Agent", Path: "ot/ot-cloud/goes"})
	if err != nil || len(records) != 2 || records[1].Operation != "delete" || records[1].Who != "isthmus" || !strings.Contains(records[1].Why, "not seen for 1h1m") {
		t.Errorf("%+v, %v", records, err)
	}
	if err := stop(); err != nil && fault.KindOf(err) == fault.Unauthenticated {
		t.Error(err)
	}
	// A server that was away for long has seen nobody, and blames nobody for it.
	r.clk.Advance(24 * time.Hour)
	r.restart()
	r.keep(ctx)
	if got := there(); len(got) != 3 {
		t.Errorf("after the server's absence there are %v", got)
	}
	r.clk.Advance(61 * time.Minute)
	r.keep(ctx)
	if got := there(); len(got) != 1 || got[0] != "keeps" {
		t.Errorf("at last there are %v", got)
	}
	if _, err := r.plan("test", keeps); err != nil {
		t.Error(err)
	}
}

// Two servers over one database: what one has seen the other does not sweep away.
func TestAnotherServersMembersStay(t *testing.T) {
	r := plant(t)
	tok := r.token(JoinTokenRequest{For: JoinGateway, Tenant: "ot", Network: "ot-cloud", EphemeralAfter: time.Hour})
	reply, err := r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: newCSR(t)})
	if err != nil {
		t.Fatal(err)
	}
	other := r.second()
	r.clk.Advance(time.Hour)
	if err := r.Report(ctx, reply.ID, AgentReport{}); err != nil {
		t.Fatal(err)
	}
	r.keep(ctx)
	other.keep(ctx)
	if _, err := other.plan("test", reply.ID); err != nil {
		t.Error(err)
	}
}

// A server whose clock is ahead of the other's does not take a member for gone that the other sees every minute.
func TestAServerAheadOfItsTimeSweepsNobodyAway(t *testing.T) {
	r := plant(t)
	tok := r.token(JoinTokenRequest{For: JoinGateway, Tenant: "ot", Network: "ot-cloud", EphemeralAfter: 10 * time.Minute})
	reply, err := r.Enrol(ctx, EnrolRequest{Secret: tok.Secret, CSR: newCSR(t)})
	if err != nil {
		t.Fatal(err)
	}
	second := r.second()
	ahead, err := New(Config{}, second.st, r.authz, slog.New(slog.DiscardHandler), aheadClock{r.clk}, nil)
	if err != nil {
		t.Fatal(err)
	}
	for range 25 {
		ahead.keep(ctx)
		r.clk.Advance(time.Minute)
		if err := r.Report(ctx, reply.ID, AgentReport{}); err != nil {
			t.Fatal(err)
		}
		r.keep(ctx)
	}
	if _, err := ahead.plan("test", reply.ID); err != nil {
		t.Error(err)
	}
	for range 21 { // it learns at the end of one such time that the other has seen it since, and waits for another
		r.clk.Advance(time.Minute)
		ahead.keep(ctx)
	}
	if _, err := ahead.plan("test", reply.ID); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("who is gone stays: %v", err)
	}
}

// aheadClock is twenty minutes ahead.
type aheadClock struct{ *clock.Fake }

func (c aheadClock) Now() time.Time { return c.Fake.Now().Add(20 * time.Minute) }

func TestWhereResolversAnswer(t *testing.T) {
	r := plant(t)
	gw := r.join(JoinAgent, "ot/plant-7/gw")
	list := addrPorts("0.0.0.0:53", "10.7.0.2:53", "[::ffff:10.7.0.1]:53", "10.7.0.2:53", "10.7.0.9:0")
	if err := r.Report(ctx, gw, AgentReport{DNSAddresses: list}); err != nil {
		t.Fatal(err)
	}
	r.restart()
	got := r.get(otOps, resource.KindAgent, "ot/plant-7/gw").(*resource.Agent).Status.DNSAddresses
	if len(got) != 2 || got[0].String() != "10.7.0.1:53" || got[1].String() != "10.7.0.2:53" {
		t.Errorf("%v", got)
	}
}
