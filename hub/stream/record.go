package stream

import (
	"strings"

	"github.com/isthmus-io/isthmus/access/session"
)

// note tells the journal of a stream that somebody outside asked for. Who has the service's end in this process tells it himself.
func (g *Gateway) note(r session.Record) {
	if g.cfg.Journal != nil && r.Session != "" {
		g.cfg.Journal.Note(r)
	}
}

func (b *bridge) record(p session.Phase) session.Record {
	if b.request.inside {
		return session.Record{}
	}
	r := session.Record{
		Session: b.id, Phase: p, At: b.gateway.correct(b.gateway.clock.Now()), Grant: b.grant, Target: b.target, Person: b.person, From: b.request.From,
		To: b.hub.HostName() + "/" + b.request.To.String() + "/" + b.request.Name,
	}
	if b.grant == "" {
		r.Words = "policy " + b.request.By
	}
	return r
}

func (b *bridge) refused(end session.End, words string) session.Record {
	r := b.record(session.Refused)
	r.End, r.Words = end, both(r.Words, words)
	return r
}

func (b *bridge) ended(end session.End, words string) session.Record {
	r := b.record(session.Ended)
	r.Opened, r.End, r.Words = b.gateway.correct(b.opened), end, both(r.Words, words)
	r.Sent, r.Received = uint64(b.toDevice.Load()), uint64(b.toService.Load())
	return r
}

func both(one, two string) string {
	if one != "" && two != "" {
		one += ": "
	}
	one += two
	return strings.ToValidUTF8(one[:min(len(one), session.MaxText)], "") // half a character would be longer on its way
}
