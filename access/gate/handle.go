package gate

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"time"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/link/flow"
	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// Handle is the life of one stream that a person opened: it decides, dials, passes bytes on, and returns when the session has ended. The
// peer's id is the one its certificate was verified for; the stream's endpoint is the id of a grant. Who is refused, and whose session is
// cut, is told why in words.
func (g *Gate) Handle(peer identity.ID, s *mux.Stream) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	v := &visit{id: newID(), peer: peer, stream: s, from: s.Flow().Client, ctx: ctx, cancel: cancel}
	if no := g.admit(v); no != nil {
		g.refuse(v, no)
		return
	}
	defer g.wg.Done()
	defer g.leave(v)
	l, no := g.connect(v)
	if no != nil {
		g.refuse(v, no)
		return
	}
	g.attend(v, l)
}

func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}

// admit decides and lists the visit under the same lock, so that a grant revoked meanwhile finds it.
func (g *Gate) admit(v *visit) *refusal {
	id := v.stream.Flow().Endpoint
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.now()
	v.opened, v.anchor = now, anchor(now)
	if g.stopped {
		return &refusal{session.EndStopping, tunnel.ResetShuttingDown, "the process that leads there is stopping"}
	}
	e, until, no := g.rules.decide(question{
		peer: v.peer, grant: id, now: now.wall, open: g.open[id], all: len(g.visits), records: g.cfg.SSH != nil, allow: g.allow,
	})
	v.entry, v.until = e, until
	if no != nil {
		return no
	}
	if g.begun.Take(person(v.peer)) > 0 {
		return &refusal{session.TooMany, tunnel.ResetOverloaded, "too many sessions were begun in a short time: wait a moment"}
	}
	v.meter = &meter{g.room.Join(e.target.Limits.BytesPerSecond), g}
	g.visits[v] = struct{}{}
	g.open[id]++
	g.wg.Add(1)
	if len(g.visits) == 1 || now.mono+until.Sub(now.wall) < g.next {
		g.rouse()
	}
	return nil
}

func (g *Gate) leave(v *visit) {
	g.mu.Lock()
	defer g.mu.Unlock()
	id := v.stream.Flow().Endpoint
	delete(g.visits, v)
	if g.open[id]--; g.open[id] <= 0 {
		delete(g.open, id)
	}
}

// connect dials the target and makes ready what passes the bytes on.
func (g *Gate) connect(v *visit) (carrier, *refusal) {
	t, grant := v.now()
	c, no := g.dial(v, t)
	if end, words := v.why(); end != "" {
		if no == nil {
			_ = c.Close()
		}
		return nil, &refusal{end, codeOf(end), words}
	}
	if no != nil {
		g.problems.note(t.ID, t.Name+": "+no.words+" ("+stamp(v.opened.wall)+")", g.elapsed())
		return nil, no
	}
	g.problems.solved(t.ID)
	m := v.meter.limits(t.Limits)
	var l carrier
	if t.Record != nil {
		l = g.terminate(v, t, grant, c, m)
	} else {
		l = &passed{flow.Join(v.stream, c, g.clk, m)}
	}
	if !v.attach(l, m != nil, g.now()) {
		end, words := v.why()
		return nil, &refusal{end, codeOf(end), words}
	}
	return l, nil
}

// carrier is a link that can be run.
type carrier interface {
	link
	carry() (end session.End, what Outcome)
}

// passed is a session whose bytes nobody looks at.
type passed struct{ *flow.Joined }

func (p *passed) carry() (session.End, Outcome) {
	if orderly, _ := p.Carry(); orderly {
		return session.EndClosed, Outcome{}
	}
	return session.EndBroken, Outcome{}
}

// attend is the session proper.
func (g *Gate) attend(v *visit, l carrier) {
	t, grant := v.now()
	rec := session.Record{
		Session: v.id, Phase: session.Opened, At: v.opened.wall, Grant: grant.ID, Target: t.ID, Person: clip(string(v.peer)), To: clip(place(t)),
	}
	if v.from.IsValid() {
		rec.From = v.from.String()
	}
	g.note(rec)
	g.log.Info("session opened", "session", v.id, "person", grant.Name, "target", t.Name, "grant", grant.ID, "from", rec.From)
	if err := v.stream.Accept(); err != nil {
		v.cut(session.EndBroken, gone)
	}
	end, what := l.carry()
	cut, why := v.why()
	if cut != "" {
		end, what.Words = cut, why
	}
	rec.Phase, rec.Opened, rec.At, rec.End = session.Ended, rec.At, g.now().wall, end
	rec.Sent, rec.Received = l.Passed()
	what.put(&rec)
	g.count.ended(v, end)
	g.note(rec)
	g.log.Info("session ended", "session", v.id, "person", grant.Name, "target", t.Name, "end", end, "sent", rec.Sent, "received", rec.Received,
		"for", (g.elapsed() - v.opened.mono).Round(time.Millisecond))
}

// refuse tells the person, and, as far as there is room, the record.
func (g *Gate) refuse(v *visit, no *refusal) {
	v.stream.Reset(no.code, no.words)
	g.count.refused.WithLabelValues(string(no.why)).Inc()
	now := g.now()
	rec := session.Record{
		Session: v.id, Phase: session.Refused, At: now.wall, Grant: clip(v.stream.Flow().Endpoint), Person: clip(string(v.peer)), End: no.why,
		Words: clip(no.words),
	}
	if v.from.IsValid() {
		rec.From = v.from.String()
	}
	if t, _ := v.now(); t != nil {
		rec.Target, rec.To = t.ID, clip(place(t))
	}
	write, fresh := g.refusals.take(person(v.peer), now.mono, rec)
	if write {
		g.tell([]session.Record{rec})
	}
	if fresh {
		g.rouse()
	}
}

// tell writes records of refusals.
func (g *Gate) tell(records []session.Record) {
	for _, r := range records {
		g.log.Warn("person refused", "why", r.End, "person", r.Person, "grant", r.Grant, "from", r.From, "words", r.Words)
		g.note(r)
	}
}

func (g *Gate) note(r session.Record) {
	if g.cfg.Journal != nil {
		g.cfg.Journal.Note(r)
	}
}

// place is what is dialled, for people.
func place(t *plan.Target) string {
	d := t.Device
	if d == nil {
		return t.Address
	}
	if d.Module != "" {
		return "device " + d.Device + "/" + d.Module + ", stream " + d.Stream
	}
	return "device " + d.Device + ", stream " + d.Stream
}

// clip bounds a text of a record, at a character's border.
func clip(s string) string {
	if len(s) <= session.MaxText {
		return s
	}
	n := session.MaxText
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n]
}

// words are a fault's for people, with what to do about it.
func words(err error) string {
	if next := fault.Next(err); next != "" {
		return fault.Message(err) + ": " + next
	}
	return fault.Message(err)
}
