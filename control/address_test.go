package control

import (
	"fmt"
	"net/netip"
	"sync"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func mustAddr(s string) netip.Addr { return netip.MustParseAddr(s) }

func TestAddressesAreGivenOnceAndKept(t *testing.T) {
	r := plant(t)
	r.apply(otOps, network("ot/small", "10.1.0.0/29")) // .4, .5 and .6
	fixed := endpointTo("ot/small/fixed", "ot/ot-cloud/contoso")
	fixed.Spec.Address = mustAddr("10.1.0.5")
	r.apply(otOps, fixed)
	r.apply(otOps, nameless("ot/small/a", "ot/ot-cloud/contoso"), nameless("ot/small/b", "ot/ot-cloud/contoso"))
	for path, want := range map[string]string{"ot/small/fixed": "10.1.0.5", "ot/small/a": "10.1.0.4", "ot/small/b": "10.1.0.6"} {
		if got := r.endpoint(path).Status.Address; got != mustAddr(want) {
			t.Errorf("%s has %s, want %s", path, got, want)
		}
	}
	_, err := r.Apply(ctx, otOps, []resource.Object{nameless("ot/small/c", "ot/ot-cloud/contoso")}, ApplyOptions{})
	want(t, err, fault.Exhausted, "every address")
	r.apply(otOps, network("ot/small", "10.1.0.0/29", "10.2.0.0/29")) // growing helps
	r.apply(otOps, nameless("ot/small/c", "ot/ot-cloud/contoso"))
	if err := r.Delete(ctx, otOps, key(t, resource.KindPrivateEndpoint, "ot/small/a"), ""); err != nil {
		t.Fatal(err)
	}
	r.restart()
	r.apply(otOps, nameless("ot/small/d", "ot/ot-cloud/contoso"))
	if got := r.endpoint("ot/small/d").Status.Address; got != mustAddr("10.1.0.4") {
		t.Errorf("a freed address is not given again: %s", got)
	}
	fixed.Spec.Address = netip.Addr{}
	r.apply(otOps, fixed)
	if got := r.endpoint("ot/small/fixed").Status.Address; got != mustAddr("10.1.0.5") {
		t.Errorf("the endpoint lost its address: %s", got)
	}
}

func TestManyAtOnceGetDifferentAddresses(t *testing.T) {
	r := plant(t)
	var wg sync.WaitGroup
	for i := range 40 {
		wg.Go(func() {
			for j := range 3 {
				e := nameless(fmt.Sprintf("ot/plant-7/e%d-%d", i, j), "ot/ot-cloud/contoso")
				if _, err := r.Apply(ctx, otOps, []resource.Object{e}, ApplyOptions{}); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	list, err := r.List(ctx, otOps, resource.KindPrivateEndpoint, Filter{Scope: "plant-7"})
	if err != nil || len(list) != 120 {
		t.Fatalf("%d endpoints, %v", len(list), err)
	}
	addresses, links := map[netip.Addr]bool{}, map[uint32]bool{}
	for _, o := range list {
		st := o.(*resource.PrivateEndpoint).Status
		if addresses[st.Address] || links[st.Connection.LinkID] || st.Connection.LinkID == 0 {
			t.Errorf("%s: address %s, link id %d", o.Head().Key(), st.Address, st.Connection.LinkID)
		}
		addresses[st.Address], links[st.Connection.LinkID] = true, true
	}
}
