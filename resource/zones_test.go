package resource

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/isthmus-io/isthmus/fault"
)

// The zone of an IPv6 address may be any text to those who parse it; it stands in files, logs and on terminals later.
func TestZonesOfAddressesAreNamesOfInterfaces(t *testing.T) {
	for zone, good := range map[string]bool{
		"eth0": true, "7": true, "br-lan.7": true, "wlan_0": true,
		"x\nserver evil 192.0.2.66:1": false, "\x1b[2J": false, "a b": false, "a;b": false, "a\"b": false, "{": false, strings.Repeat("x", 16): false,
	} {
		a := netip.MustParseAddr("fe80::1").WithZone(zone)
		for what, err := range map[string]error{
			"a target":             second(ParseTarget(a.String())),
			"a target with a port": second(ParseTarget("[" + a.String() + "]:443")),
			"an upstream":          first(ParseUpstream(a.String())),
			"one with a port":      first(ParseUpstream("[" + a.String() + "]:53")),
			"a listener":           first((&GatewaySpec{Listeners: []GatewayListener{{Name: "l", Port: 1, Address: a}}}).validateListeners("test")),
		} {
			if good != (err == nil) || err != nil && fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s %q: %v", what, a, err)
			}
			if err != nil && strings.ContainsAny(fault.Message(err), "\x1b\n") {
				t.Errorf("%s: its fault repeats %q", what, fault.Message(err))
			}
		}
	}
	r := &RecordSet{Spec: RecordSetSpec{AAAA: []netip.Addr{netip.MustParseAddr("fe80::1%eth0")}}}
	r.Kind, r.APIVersion = KindRecordSet, APIVersion
	r.Metadata = Meta{Tenant: "ot", Zone: "corp.example", Name: "a"}
	if err := r.Validate(); err == nil || !strings.Contains(err.Error(), "zone") {
		t.Errorf("a record with a zone: %v", err)
	}
}

func first[T any](_ T, err error) error          { return err }
func second[T, U any](_ T, _ U, err error) error { return err }
