package resolver_test

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/isthmus-io/isthmus/clock/clocktest"
	"github.com/isthmus-io/isthmus/resolver"
)

// Two resolvers that forward to each other find out with the first question, and each says so.
func TestACircleOfResolversIsFound(t *testing.T) {
	a := start(t, resolver.Config{}, resolver.View{})
	b := start(t, resolver.Config{}, resolver.View{Upstreams: []netip.AddrPort{a.Addr()}})
	a.Set(resolver.View{Upstreams: []netip.AddrPort{b.Addr()}})
	watch := clocktest.Start(t)
	ans := ask(t, "udp", a, edns("www.example", "A"))
	_, text := errorOf(ans)
	if ans.Rcode != dns.RcodeRefused && ans.Rcode != dns.RcodeServerFailure || !strings.Contains(text, "forwarding loop") || watch.Took() > 2*time.Second {
		t.Errorf("after %v: %v", watch.Took(), ans)
	}
	if a, b := a.Status().Queries, b.Status().Queries; a["looped"] == 0 || a["looped"] > 3 || b["forwarded"]+b["failed"] > 3 {
		t.Errorf("%v and %v", a, b)
	}
}

// What a client says of itself stays here: its subnet, its cookie, and options nobody knows, which are no reason for an error either.
func TestOptionsOfClientsAreNotPassedOn(t *testing.T) {
	told := make(chan *dns.OPT, 10)
	up := upstream(t, func(w dns.ResponseWriter, q *dns.Msg) {
		told <- q.IsEdns0()
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{rr(t, "www.example. 60 IN A 192.0.2.1")}
		_ = w.WriteMsg(m)
	})
	r := start(t, resolver.Config{}, resolver.View{Upstreams: []netip.AddrPort{up.addr}})
	m := edns("www.example", "A")
	const unknown = 65001
	m.IsEdns0().Option = []dns.EDNS0{
		&dns.EDNS0_SUBNET{Code: dns.EDNS0SUBNET, Family: 1, SourceNetmask: 24, Address: []byte{10, 7, 0, 0}},
		&dns.EDNS0_COOKIE{Code: dns.EDNS0COOKIE, Cookie: "0102030405060708"},
		&dns.EDNS0_LOCAL{Code: unknown, Data: []byte("x")},
		&dns.EDNS0_NSID{Code: dns.EDNS0NSID},
	}
	ans := ask(t, "udp", r, m)
	if len(ans.Answer) != 1 || len(ans.IsEdns0().Option) != 1 {
		t.Errorf("%v", ans)
	}
	for _, o := range (<-told).Option {
		switch o := o.(type) {
		case *dns.EDNS0_COOKIE:
			if strings.HasPrefix(o.Cookie, "0102030405060708") {
				t.Error("the client's cookie was passed on")
			}
		case *dns.EDNS0_LOCAL:
			if o.Code == unknown {
				t.Errorf("%v was passed on", o)
			}
		default:
			t.Errorf("%v was passed on", o)
		}
	}
}
