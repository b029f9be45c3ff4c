package session_test

import (
	"strings"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
)

func TestRecordsThatCannotBeRight(t *testing.T) {
	id := strings.Repeat("0a", 16)
	long := strings.Repeat("x", session.MaxText+1)
	good := func() session.Record {
		return session.Record{
			Session: id, Phase: session.Ended, At: time.Unix(1, 0), Grant: "g", End: session.EndClosed,
			Files: []session.File{{Name: "../../etc/passwd", SHA256: strings.Repeat("0f", 32)}, {Name: "x"}}, Commands: []string{"uptime"},
		}
	}
	if r := good(); r.Check() != nil {
		t.Fatal(r.Check())
	}
	for name, change := range map[string]func(r *session.Record){
		"session":  func(r *session.Record) { r.Session = "" },
		"session ": func(r *session.Record) { r.Session = strings.Repeat("0A", 16) },
		"phase":    func(r *session.Record) { r.Phase = "closed" },
		"grant":    func(r *session.Record) { r.Grant = long },
		"end":      func(r *session.Record) { r.End = session.End(long) },
		"words":    func(r *session.Record) { r.Words = long },
		"files":    func(r *session.Record) { r.Files = make([]session.File, session.MaxFiles+1) },
		"files ":   func(r *session.Record) { r.Files[0].SHA256 = "abc" },
		"files  ":  func(r *session.Record) { r.Files[0].SHA256 = strings.Repeat("zz", 32) },
		"files   ": func(r *session.Record) { r.MoreFiles = -1 },
		"commands": func(r *session.Record) { r.Commands[0] = long },
		"time":     func(r *session.Record) { r.At = time.Time{} },
	} {
		r := good()
		change(&r)
		if err := r.Check(); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Message(err), strings.TrimSpace(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
