package control

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

// layers is a tenant whose networks ask those of the layer below: every way down is its own, and there are width^depth of them.
func layers(width, depth int) *loops {
	l := &loops{tenant: "ot", networks: map[string]*resource.Network{}, rules: map[string][]plan.Forward{}, sets: map[string]*resource.Ruleset{}, at: map[netip.AddrPort][]string{}}
	address := func(layer, i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(layer), byte(i), 1}), 53)
	}
	for layer := range depth {
		for i := range width {
			name := fmt.Sprintf("n-%d-%d", layer, i)
			l.networks[name] = &resource.Network{}
			l.at[address(layer, i)] = []string{name}
			f := plan.Forward{Rule: "ot/set/down", Domain: "corp.example"}
			for j := range width {
				if layer+1 < depth {
					f.Targets = append(f.Targets, address(layer+1, j))
				}
			}
			l.rules[name] = []plan.Forward{f}
		}
	}
	return l
}

// Whoever writes a ruleset holds up everybody else who writes: looking for circles must not take for ever, whatever a tenant builds.
func TestLookingForCirclesIsQuick(t *testing.T) {
	l := layers(6, 12)
	done := make(chan error, 1)
	go func() { done <- l.check([]string{"n-0-0"}) }()
	select {
	case err := <-done:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still looking")
	}
	last := l.rules["n-11-5"]
	last[0].Targets = []netip.AddrPort{netip.MustParseAddrPort("10.0.0.1:53")}
	if err := l.check([]string{"n-0-0"}); err == nil {
		t.Error("a circle through all layers is not found")
	}
}
