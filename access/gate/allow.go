package gate

import (
	"net"
	"net/netip"
	"path"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// allowlist is what the machine's owner lets targets be. A nil one allows everything.
type allowlist struct {
	networks []network
	hosts    []host
	sockets  []string // paths; one that ends in "/" allows what is directly or further below
}

type network struct {
	prefix netip.Prefix
	port   uint16 // 0: any
}

type host struct {
	name string // "*" is any, "*.x" whatever is below x
	port uint16 // 0: any
}

// CheckAllow reads patterns as Config.Allow has them; the error has kind Invalid.
//
//	192.168.0.0/24        addresses, also those that a name stands for
//	192.168.0.10:502      one port of one; [fd00::/8]:22 for IPv6
//	*.plant.example:22    names as targets spell them; *.x is whatever is below x, * everything
//	unix:/run/x.sock      a socket; unix:/run/ those below a directory, unix: all
func CheckAllow(patterns []string) error {
	for _, p := range patterns {
		if err := new(allowlist).add(p); err != nil {
			return err
		}
	}
	return nil
}

// newAllowlist returns what could be read, and an error for each pattern that could not, which allows nothing.
func newAllowlist(patterns []string) (*allowlist, []error) {
	if patterns == nil {
		return nil, nil
	}
	a := &allowlist{}
	var bad []error
	for _, p := range patterns {
		if err := a.add(p); err != nil {
			bad = append(bad, err)
		}
	}
	return a, bad
}

func (a *allowlist) add(pattern string) error {
	bad := fault.Newf("gate.CheckAllow", fault.Invalid, "%q allows nothing", pattern).
		Advise("write 192.168.0.0/24, 192.168.0.10:502, *.plant.example:22, or unix:/run/x.sock")
	if p, ok := strings.CutPrefix(pattern, "unix:"); ok {
		if p == "" {
			p = "/"
		}
		if path.Clean(p) != strings.TrimSuffix(p, "/") && p != "/" || !path.IsAbs(p) {
			return bad
		}
		a.sockets = append(a.sockets, p)
		return nil
	}
	text, port, ok := cutPort(pattern)
	if !ok {
		return bad
	}
	if prefix, err := netip.ParsePrefix(text); err == nil {
		if prefix.Addr().Is4In6() {
			return bad
		}
		a.networks = append(a.networks, network{prefix.Masked(), port})
		return nil
	}
	if addr, err := netip.ParseAddr(text); err == nil {
		addr = addr.Unmap()
		a.networks = append(a.networks, network{netip.PrefixFrom(addr.WithZone(""), addr.BitLen()), port})
		return nil
	}
	name := strings.ToLower(text)
	if name != "*." {
		name = strings.TrimSuffix(name, ".")
	}
	if rest := strings.TrimPrefix(strings.TrimPrefix(name, "*"), "."); name == "" || name != "*" && rest == "" || strings.ContainsAny(rest, "*/:[] \t") ||
		strings.HasPrefix(name, "*") && name != "*" && !strings.HasPrefix(name, "*.") {
		return bad
	}
	a.hosts = append(a.hosts, host{name, port})
	return nil
}

// cutPort takes ":PORT" off the end, and brackets off what stands before it.
func cutPort(s string) (text string, port uint16, ok bool) {
	if strings.HasPrefix(s, "[") {
		inner, rest, found := strings.Cut(s[1:], "]")
		if !found || rest == "" {
			return inner, 0, found
		}
		s, found = strings.CutPrefix(rest, ":")
		n, err := strconv.ParseUint(s, 10, 16)
		return inner, uint16(n), found && err == nil && n > 0
	}
	before, after, found := strings.Cut(s, ":")
	if !found || strings.Contains(after, ":") { // IPv6 without a port
		return s, 0, true
	}
	n, err := strconv.ParseUint(after, 10, 16)
	return before, uint16(n), err == nil && n > 0
}

// mayBe says whether a target's address may be dialled, as far as that can be seen from its spelling: a name that no pattern names may
// stand for an address that one allows, which reaches decides.
func (a *allowlist) mayBe(address string) bool {
	if a == nil {
		return true
	}
	if p, ok := strings.CutPrefix(address, "unix:"); ok {
		return a.socket(p)
	}
	name, port, ok := split(address)
	if !ok {
		return false
	}
	if addr, err := netip.ParseAddr(name); err == nil {
		return a.named(name, port) || a.reaches(netip.AddrPortFrom(addr, port))
	}
	return a.named(name, port) || len(a.networks) > 0
}

// mustLook says whether the addresses that a target's name stands for have to be looked at when they are dialled.
func (a *allowlist) mustLook(address string) bool {
	if a == nil || strings.HasPrefix(address, "unix:") {
		return false
	}
	name, port, ok := split(address)
	return !ok || !a.named(name, port)
}

func (a *allowlist) named(name string, port uint16) bool {
	name = strings.TrimSuffix(strings.ToLower(name), ".")
	for _, h := range a.hosts {
		if h.port != 0 && h.port != port {
			continue
		}
		below, wild := strings.CutPrefix(h.name, "*")
		if wild && strings.HasSuffix(name, below) && len(name) > len(below) || !wild && name == h.name {
			return true
		}
	}
	return false
}

// reaches says whether an address may be dialled.
func (a *allowlist) reaches(at netip.AddrPort) bool {
	if a == nil {
		return true
	}
	addr := at.Addr().Unmap().WithZone("")
	for _, n := range a.networks {
		if (n.port == 0 || n.port == at.Port()) && n.prefix.Contains(addr) {
			return true
		}
	}
	return false
}

func (a *allowlist) socket(p string) bool {
	if path.Clean(p) != p || !path.IsAbs(p) {
		return false
	}
	for _, s := range a.sockets {
		if p == s || strings.HasSuffix(s, "/") && strings.HasPrefix(p, s) {
			return true
		}
	}
	return false
}

func split(address string) (name string, port uint16, ok bool) {
	name, text, err := net.SplitHostPort(address)
	n, err2 := strconv.ParseUint(text, 10, 16)
	return name, uint16(n), err == nil && err2 == nil
}
