package limit

import (
	"net/netip"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/resource"
)

func TestUsageSaysWhatEnterWould(t *testing.T) {
	clk := clock.NewFake(time.Now())
	l := New(Config{}, clk)
	source, own := netip.MustParseAddr("203.0.113.9"), resource.Limit{Connections: 3}
	l.Set(resource.Limit{PerSecond: 2}, resource.Limit{Connections: 2}, func(string) resource.Limit { return own })
	if u := l.Usage(source, "r", own, "n"); u != (Usage{}) {
		t.Errorf("%+v", u)
	}
	var leases [4]Lease
	want := []Usage{{1, 1, 1, ""}, {2, 2, 2, NameConnections}, {3, 3, 2, RuleConnections}, {4, 3, 2, SourceRate}}
	for i := range leases {
		if over := l.Enter(&leases[i], source); over != "" {
			t.Fatal(i, over)
		}
		if i < 3 && leases[i].Rule("r", own) != "" || i < 2 && leases[i].Name("n") != "" {
			t.Fatal(i)
		}
		if u := l.Usage(source, "r", own, "n"); u != want[i] {
			t.Errorf("%d: %+v, want %+v", i, u, want[i])
		}
	}
	clk.Advance(time.Second)
	if u := l.Usage(source, "", own, ""); u != (Usage{Source: 4}) {
		t.Errorf("%+v", u)
	}
	for i := range leases {
		leases[i].Leave()
	}
}
