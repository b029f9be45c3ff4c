package agent

import (
	"errors"
	"log/slog"
	"net/netip"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/identity"
)

// inNamespace runs f on a thread in a network namespace of its own, which ends with the thread.
func inNamespace(t *testing.T, f func()) {
	t.Helper()
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread is of no use to others any more
		_, err := netns.New()
		if err == nil {
			f()
		}
		done <- err
	}()
	if err := <-done; errors.Is(err, unix.EPERM) {
		t.Skip("making a network namespace takes root")
	} else if err != nil {
		t.Fatal(err)
	}
}

func addInterface(t *testing.T, name string, addresses ...string) {
	l := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: name}, PeerName: "p" + name[:3]}
	if err := netlink.LinkAdd(l); err != nil {
		t.Error(err)
	}
	for _, a := range addresses {
		addr, err := netlink.ParseAddr(a)
		if err == nil {
			err = netlink.AddrAdd(l, addr)
		}
		if err != nil {
			t.Error(err)
		}
	}
}

// onInterface returns "address/bits label" of every address of an interface.
func onInterface(t *testing.T, name string) []string {
	l, err := netlink.LinkByName(name)
	if err != nil {
		t.Error(err)
		return nil
	}
	have, err := netlink.AddrList(l, netlink.FAMILY_V4)
	if err != nil {
		t.Error(err)
	}
	list := make([]string, 0, len(have))
	for _, a := range have {
		list = append(list, a.IPNet.String()+" "+a.Label)
	}
	slices.Sort(list)
	return list
}

func ips(list ...string) []netip.Addr {
	var a []netip.Addr
	for _, s := range list {
		a = append(a, netip.MustParseAddr(s))
	}
	return a
}

func TestOnlyOwnAddressesComeAndGo(t *testing.T) {
	me, neighbour := identity.AgentID("t", "ot", "plant-7", "gw-1"), identity.AgentID("t", "ot", "plant-7", "gw-2")
	tag := ownTag(me)
	for _, iface := range []string{"veth7", "averylongname15"} {
		t.Run(iface, func(t *testing.T) {
			inNamespace(t, func() {
				addInterface(t, iface, "10.7.0.50/24", "10.7.0.9/32")
				addInterface(t, "other", "10.7.0.8/24")
				mine, err := newAddresses(iface, me, slog.New(slog.DiscardHandler))
				theirs, err2 := newAddresses(iface, neighbour, slog.New(slog.DiscardHandler))
				if err != nil || err2 != nil {
					t.Error(err, err2)
					return
				}
				check := func(step string, problems []string, want ...string) {
					if len(problems) > 0 {
						t.Errorf("%s: %q", step, problems)
					}
					foreign := []string{"10.7.0.50/24 " + iface, "10.7.0.9/32 " + iface, "10.7.0.20/32 " + label(iface, ownTag(neighbour))}
					want = append(want, foreign...)
					slices.Sort(want)
					if got := onInterface(t, iface); !slices.Equal(got, want) {
						t.Errorf("%s\n got %q\nwant %q", step, got, want)
					}
				}
				if p := theirs.add(ips("10.7.0.20")); len(p) > 0 {
					t.Error(p)
				}
				own := func(a string) string { return a + "/32 " + label(iface, tag) }
				// .8 and .9 are somebody's already, .20 is the neighbour's.
				check("add", mine.add(ips("10.7.0.4", "10.7.0.5", "10.7.0.8", "10.7.0.9", "10.7.0.20")), own("10.7.0.4"), own("10.7.0.5"))
				check("again", mine.add(ips("10.7.0.4", "10.7.0.5")), own("10.7.0.4"), own("10.7.0.5"))
				check("prune", mine.prune(ips("10.7.0.5", "10.7.0.9")), own("10.7.0.5"))

				reborn, _ := newAddresses(iface, me, slog.New(slog.DiscardHandler))
				check("a later life", reborn.prune(nil))
				if got := onInterface(t, "other"); !slices.Equal(got, []string{"10.7.0.8/24 other"}) {
					t.Errorf("the other interface has %q", got)
				}
			})
		})
	}
}

func TestAnInterfaceThatIsNotThere(t *testing.T) {
	inNamespace(t, func() {
		a, _ := newAddresses("nowhere0", "spiffe://t/x", slog.New(slog.DiscardHandler))
		if p := a.add(ips("10.7.0.4")); len(p) != 1 || !strings.Contains(p[0], "nowhere0") {
			t.Errorf("got %q", p)
		}
		if p := a.add(nil); len(p) != 0 {
			t.Errorf("nothing to add, and %q", p)
		}
	})
}

func TestLabelsFitTheKernel(t *testing.T) {
	tag := ownTag("spiffe://t/x")
	for iface, whole := range map[string]bool{"eth0": true, "enp0s31": true, "enp0s31f6": false, "enx001122334455": false} {
		l := label(iface, tag)
		if len(l) > maxLabel || !ours(l, tag) || strings.HasPrefix(l, iface) != whole {
			t.Errorf("%s: %q", iface, l)
		}
	}
	if ours("eth0", tag) || ours("eth0:"+ownTag("spiffe://t/y"), tag) || ours("", tag) {
		t.Error("somebody else's label is taken for ours")
	}
}
