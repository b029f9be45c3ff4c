package resolver

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"sync/atomic"
	"time"

	"github.com/miekg/dns"
)

// upstream is a server asked for foreign names, with what is known of its health. It outlives the views that name it.
type upstream struct {
	addr    netip.AddrPort
	fails   atomic.Int32 // in a row
	skipTo  atomic.Int64 // unix nanoseconds until which it is passed over; 0: healthy
	queries atomic.Uint64
}

// usable reports whether it is time to ask. Of all who come when a dead one's time is up, one may try and the others go on passing
// it over.
func (u *upstream) usable(now time.Time, pause time.Duration) bool {
	until := u.skipTo.Load()
	return until == 0 || now.UnixNano() >= until && u.skipTo.CompareAndSwap(until, now.Add(pause).UnixNano())
}

func (u *upstream) succeeded() {
	if u.skipTo.Load() != 0 {
		u.fails.Store(0)
		u.skipTo.Store(0)
	}
}

func (u *upstream) failed(now time.Time, pause time.Duration) {
	n := min(u.fails.Add(1)-1, 6)
	u.skipTo.Store(now.Add(pause << n).UnixNano())
}

// ask puts a question to upstreams in order until one answers. Those that failed lately come last. A server that fails or refuses
// counts as no answer as long as there is another to ask.
func (r *Resolver) ask(ctx context.Context, ups []*upstream, name string, qtype uint16, cd, do bool) (*dns.Msg, error) {
	var unwilling *dns.Msg
	var last error
	try := func(u *upstream) *dns.Msg {
		u.queries.Add(1)
		ans, err := r.askOne(ctx, u, name, qtype, cd, do)
		if err != nil {
			if ctx.Err() == nil || errors.Is(ctx.Err(), context.DeadlineExceeded) {
				u.failed(r.clk.Now(), r.cfg.DeadFor)
				r.metrics.upstreamFailures.Inc()
			}
			last = err
			return nil
		}
		u.succeeded()
		switch ans.Rcode {
		case dns.RcodeServerFailure, dns.RcodeRefused, dns.RcodeNotImplemented:
			unwilling = ans
			return nil
		}
		return ans
	}
	var skipped []*upstream
	for _, u := range ups {
		if ctx.Err() != nil { // no time left: whoever comes next must not be blamed for it
			break
		}
		if r.isSelf(u.addr) {
			last = fmt.Errorf("upstream %v is this resolver itself", u.addr)
			continue
		}
		if !u.usable(r.clk.Now(), r.cfg.UpstreamTimeout) {
			skipped = append(skipped, u)
			continue
		}
		if ans := try(u); ans != nil {
			return ans, nil
		}
	}
	for _, u := range skipped {
		if unwilling != nil || ctx.Err() != nil {
			break
		}
		if ans := try(u); ans != nil {
			return ans, nil
		}
	}
	if unwilling != nil {
		return unwilling, nil
	}
	if last == nil {
		last = ctx.Err()
	}
	return nil, last
}

// askOne asks over UDP, over TCP when the answer was cut, and without EDNS when the server does not understand it.
func (r *Resolver) askOne(ctx context.Context, u *upstream, name string, qtype uint16, cd, do bool) (*dns.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.UpstreamTimeout)
	defer cancel()
	m := &dns.Msg{
		MsgHdr:   dns.MsgHdr{RecursionDesired: true, CheckingDisabled: cd},
		Question: []dns.Question{{Name: name, Qtype: qtype, Qclass: dns.ClassINET}},
	}
	m.SetEdns0(udpSize, do)
	ans, err := exchangeOver(ctx, "udp", u.addr, m)
	if err == nil && (ans.Rcode == dns.RcodeFormatError || ans.Rcode == dns.RcodeNotImplemented) && ans.IsEdns0() == nil {
		m.Extra = nil
		ans, err = exchangeOver(ctx, "udp", u.addr, m)
	}
	if err == nil && ans.Truncated {
		ans, err = exchangeOver(ctx, "tcp", u.addr, m)
	}
	return ans, err
}

// exchangeOver asks once, from a socket of its own: the kernel picks its port at random and drops what comes from elsewhere.
func exchangeOver(ctx context.Context, network string, addr netip.AddrPort, m *dns.Msg) (*dns.Msg, error) {
	var id [2]byte
	_, _ = rand.Read(id[:]) // never fails
	m.Id = binary.BigEndian.Uint16(id[:])
	out, err := m.Pack()
	if err != nil {
		return nil, err
	}
	var d net.Dialer
	conn, err := d.DialContext(ctx, network, addr.String())
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	defer stop()
	if network == "tcp" {
		out = frame(out)
	}
	if _, err := conn.Write(out); err != nil {
		return nil, err
	}
	for {
		in, err := receive(conn, network)
		if err != nil {
			return nil, err
		}
		ans := new(dns.Msg)
		if err := ans.Unpack(in); err == nil && answers(ans, m) {
			return ans, nil
		}
		if network == "tcp" {
			return nil, errors.New("upstream sent something else than an answer")
		}
		// A forged or late datagram: the true answer may still come, until the time is up.
	}
}

func receive(conn net.Conn, network string) ([]byte, error) {
	if network == "udp" {
		in := make([]byte, 4096)
		n, err := conn.Read(in)
		return in[:n], err
	}
	var size [2]byte
	if _, err := io.ReadFull(conn, size[:]); err != nil {
		return nil, err
	}
	in := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(conn, in)
	return in, err
}

// answers reports whether ans answers m. Some servers leave the question out of an error.
func answers(ans, m *dns.Msg) bool {
	if !ans.Response || ans.Id != m.Id || ans.Opcode != dns.OpcodeQuery {
		return false
	}
	if len(ans.Question) == 0 {
		return ans.Rcode == dns.RcodeFormatError || ans.Rcode == dns.RcodeNotImplemented || ans.Rcode == dns.RcodeRefused
	}
	got, want := ans.Question[0], m.Question[0]
	return len(ans.Question) == 1 && got.Qtype == want.Qtype && got.Qclass == want.Qclass && lower(got.Name) == lower(want.Name)
}
