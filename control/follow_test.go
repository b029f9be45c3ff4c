package control

import (
	"log/slog"
	"testing"

	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// second is another server on the same database.
func (r *rig) second() *rig {
	r.t.Helper()
	st, err := store.Open(ctx, store.Config{DSN: r.dsn}, slog.New(slog.DiscardHandler))
	if err != nil {
		r.t.Fatal(err)
	}
	r.t.Cleanup(func() { st.Close() })
	c, err := New(Config{}, st, r.authz, slog.New(slog.DiscardHandler), r.clk, nil)
	if err != nil {
		r.t.Fatal(err)
	}
	return &rig{Control: c, t: r.t, st: st, clk: r.clk, authz: r.authz, dsn: r.dsn}
}

// Two servers on one database: what one commits the other passes on, when it looks and when it writes itself.
func TestTwoServersShareOneWorld(t *testing.T) {
	r := plant(t)
	other := r.second()
	second := other.Control
	gw := r.join(JoinAgent, "ot/plant-7/gw")
	if _, err := second.plan("test", gw); err == nil {
		t.Fatal("the second server knows the agent already")
	}
	second.follow(ctx)
	plans, stop := other.watch(gw)
	<-plans
	r.apply(otOps, endpointTo("ot/plant-7/a", "ot/ot-cloud/contoso"))
	other.apply(otOps, nameless("ot/plant-7/b", "ot/ot-cloud/contoso"))
	if p := <-plans; len(p.Endpoints) != 2 {
		t.Errorf("after a write of its own the second server knows %d endpoints of 2", len(p.Endpoints))
	}
	r.follow(ctx)
	if p, err := r.plan("test", gw); err != nil || len(p.Endpoints) != 2 {
		t.Errorf("the first server: %+v, %v", p, err)
	}
	if err := r.Delete(ctx, otOps, key(t, resource.KindAgent, "ot/plant-7/gw"), ""); err != nil {
		t.Fatal(err)
	}
	second.follow(ctx)
	if err := stop(); err == nil {
		t.Error("the second server goes on serving a deleted agent")
	}
}
