package resolver

import (
	"log/slog"
	"net/netip"
	"testing"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/plan"
)

func local(tb testing.TB) *Resolver {
	tb.Helper()
	r := New(Config{}, slog.New(slog.DiscardHandler), clock.System{}, nil)
	r.Set(View{
		Names: []plan.Name{
			{Name: "contoso.azure-devices.net", TTL: 10, CNAME: "contoso.privatelink.azure-devices.net"},
			{Name: "contoso.privatelink.azure-devices.net", TTL: 10, A: []netip.Addr{netip.MustParseAddr("10.7.0.4")}},
			{Name: "*.plant.example", TTL: 10, TXT: []string{`with "quotes", \ and ` + "\x00\xff"}},
		},
		Zones: []string{"plant.example"},
	})
	return r
}

func FuzzTake(f *testing.F) {
	r := local(f)
	for _, m := range []*dns.Msg{
		new(dns.Msg).SetQuestion("contoso.azure-devices.net.", dns.TypeA),
		new(dns.Msg).SetQuestion("X.Plant.Example.", dns.TypeTXT),
		new(dns.Msg).SetQuestion("a.b.", dns.TypeANY).SetEdns0(4096, true),
		new(dns.Msg).SetNotify("plant.example."),
	} {
		packet, err := m.Pack()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(packet, true)
		f.Add(packet[:len(packet)/2], false)
	}
	f.Fuzz(func(t *testing.T, packet []byte, tcp bool) {
		reply, later := r.take(packet, netip.AddrPort{}, tcp)
		if later != nil {
			t.Fatal("asked upstreams without having one")
		}
		if reply == nil {
			if len(packet) >= 12 && packet[2]&0x80 == 0 {
				t.Fatal("a query was dropped")
			}
			return
		}
		var ans dns.Msg
		if err := ans.Unpack(reply); err != nil {
			t.Fatalf("the reply cannot be read: %v", err)
		}
		if !ans.Response || reply[0] != packet[0] || reply[1] != packet[1] || !tcp && len(reply) > udpSize {
			t.Fatalf("%d bytes: %v", len(reply), &ans)
		}
	})
}

func BenchmarkDecide(b *testing.B) {
	r := local(b)
	packet, err := new(dns.Msg).SetQuestion("contoso.azure-devices.net.", dns.TypeA).SetEdns0(1232, false).Pack()
	if err != nil {
		b.Fatal(err)
	}
	b.ReportAllocs()
	for b.Loop() {
		if reply, _ := r.take(packet, netip.AddrPort{}, false); len(reply) < 50 {
			b.Fatal(reply)
		}
	}
}
