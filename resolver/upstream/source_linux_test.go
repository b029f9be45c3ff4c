package upstream_test

import (
	"net/netip"
	"testing"

	"github.com/isthmus-io/isthmus/resolver/upstream"
)

// Only Linux has all of 127.0.0.0/8.
func TestQueriesLeaveFromGivenAddresses(t *testing.T) {
	from := []netip.Addr{netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3"), netip.MustParseAddr("::1")}
	seen := map[netip.Addr]bool{}
	f := newFake(t, nil, func(a *asked) {
		seen[a.from.Addr()] = true
		a.ok()
	})
	w := start(t, upstream.Config{SourceAddresses: from, SocketUses: 1})
	for range 40 {
		w.must(w.Group([]upstream.Server{f.server()}), "a.example", good)
	}
	f.look(func() {
		if len(seen) != 2 || !seen[from[0]] || !seen[from[1]] {
			t.Errorf("queries came from %v", seen)
		}
	})
}
