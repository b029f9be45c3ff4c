package agent

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/isthmus-io/isthmus/identity"
)

// interfaceAddresses works on one interface through netlink. Addresses are /32: the range they come from may be that of the network
// the interface is in, or not be routed anywhere but here.
type interfaceAddresses struct {
	iface string
	tag   string
	log   *slog.Logger
}

func newAddresses(iface string, id identity.ID, log *slog.Logger) (addresses, error) {
	if iface == "" {
		return noAddresses{}, nil
	}
	return &interfaceAddresses{iface: iface, tag: ownTag(id), log: log}, nil
}

func (a *interfaceAddresses) add(want []netip.Addr) []string {
	if len(want) == 0 {
		return nil
	}
	link, err := netlink.LinkByName(a.iface)
	if err != nil {
		return []string{fmt.Sprintf("the interface %s for private endpoints is not there: %s", a.iface, err)}
	}
	have, err := list()
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, w := range want {
		if slices.ContainsFunc(have, func(h netlink.Addr) bool { return same(h, w) }) {
			continue
		}
		err := netlink.AddrAdd(link, &netlink.Addr{
			IPNet: netlink.NewIPNet(w.AsSlice()), Label: label(a.iface, a.tag), Scope: unix.RT_SCOPE_UNIVERSE,
		})
		switch {
		case err == nil:
			a.log.Info("address added", "address", w, "interface", a.iface)
		case errors.Is(err, unix.EEXIST):
		case errors.Is(err, unix.EPERM):
			problems = append(problems, fmt.Sprintf(
				"not allowed to add %s to %s: give the agent CAP_NET_ADMIN, or run: ip address add %s/32 dev %s", w, a.iface, w, a.iface))
		default:
			problems = append(problems, fmt.Sprintf("cannot add %s to %s: %s", w, a.iface, err))
		}
	}
	return problems
}

func (a *interfaceAddresses) prune(want []netip.Addr) []string {
	have, err := list()
	if err != nil {
		return []string{err.Error()}
	}
	var problems []string
	for _, h := range have {
		if !ours(h.Label, a.tag) || slices.ContainsFunc(want, func(w netip.Addr) bool { return same(h, w) }) {
			continue
		}
		link, err := netlink.LinkByIndex(h.LinkIndex)
		if err == nil {
			err = netlink.AddrDel(link, &h)
		}
		if err != nil && !errors.Is(err, unix.EADDRNOTAVAIL) {
			problems = append(problems, fmt.Sprintf("cannot remove %s from %s: %s", h.IP, a.iface, err))
			continue
		}
		a.log.Info("address removed", "address", h.IP, "interface", a.iface)
	}
	return problems
}

// list returns every IPv4 address of the machine.
func list() ([]netlink.Addr, error) {
	var have []netlink.Addr
	var err error
	for range 5 { // somebody else changing addresses interrupts a listing
		if have, err = netlink.AddrList(nil, netlink.FAMILY_V4); !errors.Is(err, netlink.ErrDumpInterrupted) {
			break
		}
	}
	if err != nil {
		return nil, fmt.Errorf("cannot list the addresses of this machine: %w", err)
	}
	return have, nil
}

func same(h netlink.Addr, w netip.Addr) bool {
	ip, ok := netip.AddrFromSlice(h.IP)
	return ok && ip.Unmap() == w
}
