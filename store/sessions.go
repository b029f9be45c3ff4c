package store

import (
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
)

// Session is what the control plane knows of one session: the records of the process that leads to the target as one, beside what the grant said
// when it was opened.
type Session struct {
	session.Record // of its last phase; At is when it opened, or was refused

	Tenant     string    `json:"tenant"` // the target's
	TargetPath string    `json:"targetPath"`
	PersonUID  string    `json:"personUid"`
	PersonName string    `json:"personName"` // alice@example.net
	Home       string    `json:"home"`       // the person's tenant
	Reason     string    `json:"reason,omitempty"`
	ApprovedBy []string  `json:"approvedBy,omitempty"`
	EndedAt    time.Time `json:"endedAt,omitzero"` // zero while it is open
}

// Session returns a session; ok is false when there is none.
func (tx *Tx) Session(id string) (s Session, ok bool, err error) {
	list, err := tx.sessions("id = ?", id)
	if err != nil || len(list) == 0 {
		return Session{}, false, err
	}
	return list[0], true, nil
}

// PutSession keeps a session, new or changed.
func (tx *Tx) PutSession(s Session) error {
	doc, err := json.Marshal(s)
	if err != nil {
		return fault.Wrap("store.PutSession", fault.Internal, err, "")
	}
	refused := 0
	if s.Phase == session.Refused {
		refused = 1
	}
	_, err = tx.sql.Exec(`INSERT INTO sessions (id, tenant, target, target_uid, grant_id, person, person_name, agent, opened, ended, refused, session_doc)
		VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
		ON CONFLICT (id) DO UPDATE SET opened = excluded.opened, ended = excluded.ended, session_doc = excluded.session_doc`,
		s.Session, s.Tenant, s.TargetPath, s.Target, s.Grant, s.PersonUID, s.PersonName, s.Agent, nanos(s.At), nanos(s.EndedAt), refused, string(doc))
	return err
}

// SessionFilter narrows a list of sessions; empty fields let everything pass.
type SessionFilter struct {
	Tenant           string // the target's
	Target, Person   string // path, name
	Grant, Agent     string
	Side, OrTenant   string // uid of the person; sessions into this tenant's targets beside them
	Open             bool
	Refused, Allowed bool // only those that were refused; only those that were not
	TargetUID        string
	PersonUID        string
	Before           time.Time // opened before
	Limit            int       // 100 when 0
}

// Sessions returns sessions, those opened last first.
func (tx *Tx) Sessions(f SessionFilter) ([]Session, error) {
	where, args := "id <> ''", []any{}
	and := func(w string, a ...any) { where, args = where+" AND "+w, append(args, a...) }
	for _, c := range []struct{ column, value string }{
		{"tenant", f.Tenant}, {"target", f.Target}, {"person_name", f.Person}, {"grant_id", f.Grant}, {"agent", f.Agent}, {"target_uid", f.TargetUID},
		{"person", f.PersonUID},
	} {
		if c.value != "" {
			and(c.column+" = ?", c.value)
		}
	}
	switch {
	case f.OrTenant != "" && f.Side != "":
		and("(person = ? OR tenant = ?)", f.Side, f.OrTenant)
	case f.OrTenant != "":
		and("tenant = ?", f.OrTenant)
	case f.Side != "":
		and("person = ?", f.Side)
	}
	if f.Open {
		and("ended = 0")
	}
	if f.Refused {
		and("refused = 1")
	}
	if f.Allowed {
		and("refused = 0")
	}
	if !f.Before.IsZero() {
		and("opened < ?", nanos(f.Before))
	}
	if f.Limit == 0 {
		f.Limit = 100
	}
	return tx.sessions(where+" ORDER BY opened DESC, id LIMIT ?", append(args, f.Limit)...)
}

// OpenSessions counts the open sessions by grant and by the target's uid.
func (tx *Tx) OpenSessions() (byGrant, byTarget map[string]int, err error) {
	byGrant, byTarget = map[string]int{}, map[string]int{}
	err = tx.sql.Rows(func(scan func(...any) error) error {
		var g, t string
		var n int
		err := scan(&g, &t, &n)
		byGrant[g] += n
		byTarget[t] += n
		return err
	}, "SELECT grant_id, target_uid, COUNT(*) FROM sessions WHERE ended = 0 GROUP BY grant_id, target_uid")
	return byGrant, byTarget, err
}

// AgentsWithSessions names the processes that have open sessions.
func (tx *Tx) AgentsWithSessions() ([]string, error) {
	var out []string
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var a string
		err := scan(&a)
		out = append(out, a)
		return err
	}, "SELECT DISTINCT agent FROM sessions WHERE ended = 0 ORDER BY agent")
	return out, err
}

// ForgetSessions drops sessions that ended before a moment; how many at most is said by limit. The audit log keeps what they were.
func (tx *Tx) ForgetSessions(before time.Time, limit int) error {
	_, err := tx.sql.Exec("DELETE FROM sessions WHERE id IN (SELECT id FROM sessions WHERE ended <> 0 AND ended < ? LIMIT ?)", nanos(before), limit)
	return err
}

func (tx *Tx) sessions(where string, args ...any) ([]Session, error) {
	var out []Session
	err := tx.sql.Rows(func(scan func(...any) error) error {
		var doc string
		if err := scan(&doc); err != nil {
			return err
		}
		var s Session
		if err := json.Unmarshal([]byte(doc), &s); err != nil {
			return fault.Wrap("store.sessions", fault.Internal, err, "a session in the database cannot be read")
		}
		out = append(out, s)
		return nil
	}, "SELECT session_doc FROM sessions WHERE "+where, args...)
	return out, err
}

// LedThere notes that a process led to a target until a moment. What it tells of later is old.
func (tx *Tx) LedThere(target, agent string, until time.Time) error {
	_, err := tx.sql.Exec("INSERT INTO former_leaders (target_uid, agent, until) VALUES (?, ?, ?) ON CONFLICT (target_uid, agent) DO UPDATE SET until = excluded.until",
		target, agent, nanos(until))
	return err
}

// Led tells whether a process led to a target before.
func (tx *Tx) Led(target, agent string) (bool, error) {
	var one int
	return tx.sql.Row([]any{&one}, "SELECT 1 FROM former_leaders WHERE target_uid = ? AND agent = ?", target, agent)
}

// ForgetLeaders drops what is older than a moment.
func (tx *Tx) ForgetLeaders(before time.Time) error {
	_, err := tx.sql.Exec("DELETE FROM former_leaders WHERE until < ?", nanos(before))
	return err
}
