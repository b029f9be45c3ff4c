package control

import (
	"cmp"
	"context"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/access/grant"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// maxRecords is how many records one call may bring.
const maxRecords = 1000

// Refusals that one process may have recorded: at once, and one more each. People who knock all day fill nobody's audit log.
const (
	refusedBurst = 200
	refusedEvery = 10 * time.Second
)

// What one process may tell of sessions at once, and one more each: a record, and each of its KiB. It keeps what is too much, and sends it again;
// several people at a gate in a hurry do not reach this.
const (
	toldBurst = 20_000
	toldEvery = 2 * time.Millisecond
	toldBytes = 1 << 10
)

// mayTell counts a record of a process. The audit log is everybody's disk.
func (c *Control) mayTell(op string, id identity.ID, r *session.Record) error {
	size := len(r.Words)
	for _, f := range r.Files {
		size += len(f.Name) + len(f.SHA256)
	}
	for _, cmd := range r.Commands {
		size += len(cmd)
	}
	for range 1 + size/toldBytes {
		if wait := c.told.Take(string(id)); wait > 0 {
			c.metrics.sessions.WithLabelValues("hasty").Inc()
			return tooOften(op, string(id)+" tells of more sessions than one process may", wait)
		}
	}
	return nil
}

// validSession tells whether a text can be the id of a session.
func validSession(id string) bool {
	return len(id) == 32 && strings.Trim(id, "0123456789abcdef") == ""
}

// NoteSessions takes what a process tells of sessions, all or nothing. What it told before does no harm. Invalid for a record that no process
// sends, Denied for one about a target that it does not lead to and did not lead to lately.
func (c *Control) NoteSessions(ctx context.Context, id identity.ID, records []session.Record) error {
	op := "control.NoteSessions"
	if err := c.mustBeMember(op, id); err != nil {
		return err
	}
	if len(records) > maxRecords {
		return fault.Newf(op, fault.TooLarge, "%d records came at once", len(records)).Advise("send at most %d", maxRecords)
	}
	for i := range records {
		if err := records[i].Check(); err != nil {
			c.metrics.sessions.WithLabelValues("invalid").Inc()
			return fault.Wrap(op, fault.Internal, err, "")
		}
	}
	if len(records) == 0 {
		return nil
	}
	return c.update(ctx, string(id), "", func(w *work) error {
		for i := range records {
			if err := w.noteSession(op, id, records[i]); err != nil {
				return err
			}
		}
		return nil
	})
}

// noteSession keeps one record and writes it into the audit chains, unless it was there before.
func (w *work) noteSession(op string, id identity.ID, r session.Record) error {
	r.Agent = string(id)
	was, known, err := w.Session(r.Session)
	if err != nil {
		return err
	}
	if known && was.Agent != r.Agent {
		return fault.Newf(op, fault.Denied, "the session %s is another process's", r.Session)
	}
	if known && (!was.EndedAt.IsZero() || r.Phase == session.Opened) {
		w.c.metrics.sessions.WithLabelValues("repeated").Inc()
		return nil
	}
	if err := w.c.mayTell(op, id, &r); err != nil {
		return err
	}
	s := was
	if known {
		s.Record = ended(was.Record, r)
	} else if s, err = w.newSession(op, id, r); err != nil {
		return err
	}
	if r.Phase != session.Opened {
		s.EndedAt = r.At
	}
	if r.Phase == session.Refused && w.c.refusals.Take(string(id)) > 0 {
		w.c.metrics.sessions.WithLabelValues("unrecorded").Inc()
		return nil
	}
	if !known && r.Phase == session.Ended { // its beginning never came
		s.At = cmp.Or(r.Opened, r.At)
	}
	if err := w.PutSession(s); err != nil {
		return err
	}
	w.c.metrics.sessions.WithLabelValues(string(r.Phase)).Inc()
	return w.recordSession(s)
}

// ended is what is known of a session when its last record has come. Who it was, and into what, stays what it was when it began.
func ended(was, r session.Record) session.Record {
	r.At, r.Grant, r.Target, r.Person = was.At, was.Grant, was.Target, was.Person
	r.From, r.To = cmp.Or(was.From, r.From), cmp.Or(was.To, r.To)
	return r
}

// newSession finds out what a record is about. A record without a grant that is known stands in the chain of the process's own tenant.
func (w *work) newSession(op string, id identity.ID, r session.Record) (store.Session, error) {
	a := w.world().agents[id]
	if a == nil {
		return store.Session{}, unknownIdentity(op, id)
	}
	s := store.Session{Record: r, Tenant: a.Metadata.Tenant}
	g, known, err := w.Grant(r.Grant)
	if err != nil {
		return s, err
	}
	target := r.Target
	if known {
		target = g.TargetUID
	}
	s.Target = ""
	if target != "" {
		leads := w.world().leadsTo(id, w.world().owned[target])
		if !leads {
			if leads, err = w.Led(target, string(id)); err != nil {
				return s, err
			}
		}
		if !leads {
			w.c.metrics.sessions.WithLabelValues("foreign").Inc()
			return s, fault.Newf(op, fault.Denied, "%s does not lead to the target of the session %s", id, r.Session).Advise("its plan says where it leads")
		}
		s.Target = target
		if t := w.world().owned[target]; t != nil {
			s.TargetPath = t.Key().Path()
		}
	}
	if !known {
		s.Grant = ""
		return s, w.stranger(&s, r.Person)
	}
	s.Tenant, s.TargetPath = g.Tenant, g.Target
	if p, ok := identity.ID(r.Person).Person(); !ok || p.Name == g.Person.ID {
		s.Reason, s.ApprovedBy = g.Reason, g.ApprovedBy()
		s.PersonUID, s.PersonName, s.Home = g.Person.ID, g.Person.Name, g.Person.Tenant
		return s, nil
	}
	if r.Phase != session.Refused {
		return s, fault.Newf(op, fault.Denied, "the session %s is of somebody whom the grant %s does not let in", r.Session, g.ID).Advise("look at the process: no gate of ours tells this")
	}
	return s, w.stranger(&s, r.Person)
}

// stranger fills in who somebody is whom no grant lets in.
func (w *work) stranger(s *store.Session, id string) error {
	p, ok := identity.ID(id).Person()
	if !ok {
		return nil
	}
	known, found, err := w.Person(p.Name)
	if found && known.Tenant == p.Tenant {
		s.PersonUID, s.PersonName, s.Home = known.UID, known.Name, known.Tenant
	}
	return err
}

// sessionPortrait is what an audit record shows of a session.
type sessionPortrait struct {
	Grant      string         `json:"grant,omitempty"`
	Target     string         `json:"target,omitempty"`
	Person     string         `json:"person,omitempty"`
	ID         string         `json:"id,omitempty"` // SPIFFE id of the pass
	ApprovedBy []string       `json:"approvedBy,omitempty"`
	Agent      string         `json:"agent"`
	Opened     time.Time      `json:"opened,omitzero"`
	Ended      time.Time      `json:"ended,omitzero"`
	From       string         `json:"from,omitempty"`
	To         string         `json:"to,omitempty"`
	Sent       uint64         `json:"sent"`
	Received   uint64         `json:"received"`
	End        session.End    `json:"end,omitempty"`
	Login      string         `json:"login,omitempty"`
	Recording  string         `json:"recording,omitempty"`
	Files      []session.File `json:"files,omitempty"`
	MoreFiles  int            `json:"moreFiles,omitempty"`
	Commands   []string       `json:"commands,omitempty"`
	Words      string         `json:"words,omitempty"`
}

// recordSession writes what happened to a session into the chains of the target's tenant and, where a grant ties them, of the person's.
func (w *work) recordSession(s store.Session) error {
	step := map[session.Phase]string{session.Opened: "session-open", session.Ended: "session-end", session.Refused: "session-refused"}[s.Phase]
	who, why := w.who, w.why
	defer func() { w.who, w.why = who, why }()
	w.why = s.Reason
	p := sessionPortrait{
		Grant: s.Grant, Target: s.TargetPath, Person: personWho(s), ID: s.Record.Person, ApprovedBy: s.ApprovedBy, Agent: s.Agent, Opened: s.At,
		Ended: s.EndedAt, From: s.From, To: s.To, Sent: s.Sent, Received: s.Received, End: s.End, Login: s.Login, Recording: s.Recording,
		Files: s.Files, MoreFiles: s.MoreFiles, Commands: s.Commands, Words: s.Words,
	}
	if p.Person != "" {
		w.who = p.Person
	}
	both, err := w.concerned(s)
	if err != nil {
		return err
	}
	key := resource.Key{Kind: kindSession, Tenant: s.Tenant, Name: s.Session}
	if err := w.recordBoth(step, key, s.Tenant, both, nil, p); err != nil {
		return err
	}
	if s.Phase == session.Refused {
		return nil
	}
	return w.tellOfSession(step, s)
}

// concerned is the tenant of the person whose grant it was, in whose chain the session stands too; empty when it was another's. A process tells
// what it likes: it does not write into the chains of those whom nobody let in.
func (w *work) concerned(s store.Session) (string, error) {
	if s.Grant == "" {
		return "", nil
	}
	g, ok, err := w.Grant(s.Grant)
	if err != nil || !ok || g.Person.ID != s.PersonUID {
		return "", err
	}
	return g.Person.Tenant, nil
}

// kindSession is how sessions stand in audit records, beside the nouns.
const kindSession resource.Kind = "Session"

func personWho(s store.Session) string {
	if s.PersonUID == "" {
		return ""
	}
	return grant.Person{Name: s.PersonName, Tenant: s.Home}.Who()
}

// longestLate is how long after it stopped to lead to a target a process may tell of sessions into it.
const longestLate = 90 * 24 * time.Hour

// noteLeaders remembers who leads to a target that changes or goes.
func (w *work) noteLeaders(t *resource.Target) error {
	for _, l := range w.world().leaders(t) {
		if err := w.LedThere(t.Metadata.UID, l.ID, w.now); err != nil {
			return err
		}
	}
	return nil
}

// noteLeadersOf does so for the streams of a hub that gets another process.
func (w *work) noteLeadersOf(s *resource.Service) error {
	for _, t := range w.world().at(placeOf(s)).targets {
		if d := t.Spec.Device; d != nil && d.Service == s.Metadata.Name {
			if err := w.noteLeaders(t); err != nil {
				return err
			}
		}
	}
	return nil
}

// loseSessions closes the open sessions of processes that were deleted: nobody else will.
func (c *Control) loseSessions(ctx context.Context) error {
	var agents []string
	if err := c.store.View(ctx, func(tx *store.Tx) (err error) {
		agents, err = tx.AgentsWithSessions()
		return err
	}); err != nil {
		return err
	}
	for _, a := range agents {
		c.mu.RLock()
		there := c.world.agents[identity.ID(a)] != nil
		c.mu.RUnlock()
		if there {
			continue
		}
		if err := c.update(ctx, itself, "", func(w *work) error {
			open, err := w.Sessions(store.SessionFilter{Agent: a, Open: true, Limit: maxRecords})
			if err != nil || w.world().agents[identity.ID(a)] != nil {
				return err
			}
			for _, s := range open {
				s.Phase, s.EndedAt, s.End, s.Words = session.Ended, w.now, session.EndLost, "the process that led there was deleted"
				if err := w.PutSession(s); err != nil {
					return err
				}
				if err := w.recordSession(s); err != nil {
					return err
				}
			}
			return nil
		}); err != nil {
			return err
		}
	}
	return nil
}
