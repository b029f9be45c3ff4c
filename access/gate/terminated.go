package gate

import (
	"context"
	"net"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// terminated is a session whose protocol ends here.
type terminated struct {
	by      Terminator
	session Session
	person  *visitor
	machine net.Conn
	ctx     context.Context //nolint:containedctx // ends when the session is cut
	cancel  context.CancelFunc
}

func (g *Gate) terminate(v *visit, t *plan.Target, grant *plan.Grant, machine net.Conn, m flow.Meter) *terminated {
	ctx, cancel := context.WithCancel(v.ctx)
	p := &visitor{Conn: v.stream, stream: v.stream, gate: g, ctx: ctx}
	s := &terminated{
		by: g.cfg.SSH, person: p, machine: machine, ctx: ctx, cancel: cancel,
		session: Session{ID: v.id, Target: *clone(t), Grant: *grant, Peer: v.peer, From: v.from, Opened: v.opened.wall},
	}
	s.SetMeter(m)
	return s
}

func (s *terminated) carry() (session.End, Outcome) {
	defer s.cancel()
	out, err := s.by.Serve(s.ctx, s.session, s.person, s.machine)
	_ = s.machine.Close()
	_ = s.person.Close()
	switch {
	case out.End != "":
	case err != nil:
		out.End = session.EndBroken
	default:
		out.End = session.EndClosed
	}
	if err != nil && out.Words == "" {
		out.Words = fault.Message(err)
	}
	return out.End, out
}

// Cut closes both connections, and then ends the context.
func (s *terminated) Cut(code tunnel.ResetCode, words string) {
	s.person.stream.Reset(code, words)
	if tcp, ok := s.machine.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0) // what waits to be sent is not
	}
	_ = s.machine.Close()
	s.cancel()
}

func (s *terminated) Passed() (sent, received uint64) {
	return s.person.sent.Load(), s.person.received.Load()
}

func (s *terminated) SetMeter(m flow.Meter) { s.person.meter.Store(&m) }

// visitor is the person's connection as a Terminator sees it: what passes is counted, and limited.
type visitor struct {
	net.Conn // the stream, without the ways past Read and Write
	stream   *mux.Stream
	gate     *Gate
	ctx      context.Context //nolint:containedctx // ends when the session is cut

	meter          atomic.Pointer[flow.Meter]
	sent, received atomic.Uint64
}

// CloseWrite tells the person the end of data.
func (p *visitor) CloseWrite() error { return p.stream.CloseWrite() }

func (p *visitor) Read(b []byte) (int, error) {
	n, err := p.Conn.Read(b)
	p.sent.Add(uint64(max(n, 0)))
	for left := n; left > 0; {
		m, err := p.pass(left)
		if err != nil {
			return 0, err
		}
		left -= m
	}
	return n, err
}

func (p *visitor) Write(b []byte) (done int, err error) {
	for done < len(b) {
		n, err := p.pass(len(b) - done)
		if err != nil {
			return done, err
		}
		n, err = p.Conn.Write(b[done : done+n])
		p.received.Add(uint64(max(n, 0)))
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

// pass waits until some of want bytes may pass, and returns how many.
func (p *visitor) pass(want int) (int, error) {
	for {
		m := *p.meter.Load()
		if m == nil {
			return want, nil
		}
		n, wait := m.Take(want)
		if n > 0 {
			return n, nil
		}
		due, stop := p.gate.clk.After(wait)
		select {
		case <-due:
		case <-p.ctx.Done():
			stop()
			return 0, context.Cause(p.ctx)
		}
	}
}

// put writes what a terminator said into a record, within the record's bounds.
func (o *Outcome) put(r *session.Record) {
	r.Login, r.Recording, r.Words = clip(o.Login), clip(o.Recording), clip(o.Words)
	r.MoreFiles = max(o.MoreFiles, 0)
	for _, f := range o.Files {
		if len(r.Files) == session.MaxFiles {
			r.MoreFiles++
			continue
		}
		f.Name = clip(f.Name)
		r.Files = append(r.Files, f)
	}
	for _, c := range o.Commands[:min(len(o.Commands), session.MaxCommands)] {
		r.Commands = append(r.Commands, clip(c))
	}
}
