package gate_test

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/access/gate"
	"github.com/isthmus-io/isthmus/access/session"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
)

// terminator does what a test says.
type terminator func(ctx context.Context, s gate.Session, person, machine net.Conn) (gate.Outcome, error)

func (f terminator) Serve(ctx context.Context, s gate.Session, person, machine net.Conn) (gate.Outcome, error) {
	return f(ctx, s, person, machine)
}

// shout passes one line on, in capitals, and the answer as it is.
func shout(ctx context.Context, s gate.Session, person, machine net.Conn) (gate.Outcome, error) {
	b := make([]byte, 5)
	if _, err := io.ReadFull(person, b); err != nil {
		return gate.Outcome{}, err
	}
	if _, err := io.WriteString(machine, strings.ToUpper(string(b))); err != nil {
		return gate.Outcome{}, err
	}
	if _, err := io.Copy(person, machine); err != nil {
		return gate.Outcome{}, err
	}
	_ = person.(interface{ CloseWrite() error }).CloseWrite()
	return gate.Outcome{Login: "service", Recording: s.ID}, nil
}

func (w *world) recorded() plan.Target {
	p := w.target()
	p.Record = &plan.Recording{Recipients: []string{"age1"}, UserCA: "ssh-ed25519 AAAA"}
	return p
}

func TestRecordedSessionsGoThroughTheTerminator(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got gate.Session
		w := newWorld(t, gate.Config{SSH: terminator(func(ctx context.Context, s gate.Session, person, machine net.Conn) (gate.Outcome, error) {
			got = s
			out, err := shout(ctx, s, person, machine)
			out.Files = make([]session.File, 3*session.MaxFiles)
			out.MoreFiles = 7
			out.Files[0] = session.File{Name: strings.Repeat("ü", session.MaxText), Upload: true, Size: 5}
			out.Commands = make([]string, 3*session.MaxCommands)
			return out, err
		})}, nil)
		w.gate.Set([]plan.Target{w.recorded()})
		s, m := w.enter("grant-1")
		send(t, s, "hello")
		expect(t, m, "HELLO")
		send(t, m, "answer")
		expect(t, s, "answer")
		if i := w.gate.Sessions()[0]; !i.Recorded || i.Sent != 5 || i.Received != 6 {
			t.Errorf("%+v", i)
		}
		must(t, m.Close())
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		_ = s.Close()
		opened, ended := w.journal.wait(0), w.journal.wait(1)
		if got.ID != opened.Session || got.Peer != alice || got.Grant.ID != "grant-1" || got.Target.Record.UserCA == "" || !got.Opened.Equal(w.begun) {
			t.Errorf("%+v", got)
		}
		if err := ended.Check(); err != nil || ended.End != session.EndClosed || ended.Login != "service" || ended.Recording != opened.Session ||
			ended.Sent != 5 || ended.Received != 6 || ended.MoreFiles != 7+2*session.MaxFiles || !ended.Files[0].Upload {
			t.Errorf("%v %+v", err, ended)
		}
	})
}

func TestATerminatorsWordsAreRecorded(t *testing.T) {
	for name, c := range map[string]struct {
		out   gate.Outcome
		err   error
		end   session.End
		words string
	}{
		"an end":   {gate.Outcome{End: session.BadLogin, Words: "no such account"}, nil, session.BadLogin, "no such account"},
		"an error": {gate.Outcome{}, fault.New("sshproxy.Serve", fault.Unavailable, "the machine's key has changed"), session.EndBroken, "the machine's key has changed"},
		"both":     {gate.Outcome{End: session.NotRecordable}, fault.New("sshproxy.Serve", fault.Exhausted, "the disk is full"), session.NotRecordable, "the disk is full"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, gate.Config{SSH: terminator(func(context.Context, gate.Session, net.Conn, net.Conn) (gate.Outcome, error) { return c.out, c.err })}, nil)
				w.gate.Set([]plan.Target{w.recorded()})
				s, m := w.enter("grant-1")
				if r := w.journal.wait(1); r.End != c.end || r.Words != c.words {
					t.Errorf("%+v", r)
				}
				for _, conn := range []net.Conn{s, m} {
					if _, err := conn.Read(make([]byte, 1)); err == nil {
						t.Error("left open")
					}
				}
			})
		})
	}
}

// The end of the grant ends whatever the terminator waits for.
func TestTheEndCutsATerminator(t *testing.T) {
	for name, wait := range map[string]func(ctx context.Context, person, machine net.Conn) error{
		"reading the person":  func(_ context.Context, person, _ net.Conn) error { _, err := io.Copy(io.Discard, person); return err },
		"reading the machine": func(_ context.Context, _, machine net.Conn) error { _, err := io.Copy(io.Discard, machine); return err },
		"writing to one who does not read": func(_ context.Context, person, _ net.Conn) error {
			_, err := io.CopyN(person, zeros{}, 64<<20)
			return err
		},
		"its context": func(ctx context.Context, _, _ net.Conn) error { <-ctx.Done(); return ctx.Err() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, gate.Config{SSH: terminator(func(ctx context.Context, _ gate.Session, person, machine net.Conn) (gate.Outcome, error) {
					return gate.Outcome{}, wait(ctx, person, machine)
				})}, nil)
				w.gate.Set([]plan.Target{w.recorded()})
				w.enter("grant-1")
				r := w.journal.wait(1)
				if took := time.Since(w.begun); took < time.Hour || took > time.Hour+time.Second {
					t.Error("after", took)
				}
				if r.End != session.EndExpired || !strings.Contains(r.Words, "the grant ended at") {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) { clear(b); return len(b), nil }

func TestARecordedSessionIsLimitedToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gate.Config{SSH: terminator(func(_ context.Context, _ gate.Session, person, _ net.Conn) (gate.Outcome, error) {
			_, err := io.CopyN(person, zeros{}, 1<<20)
			return gate.Outcome{}, err
		})}, nil)
		p := w.recorded()
		p.Limits.BytesPerSecond = 100 << 10
		w.gate.Set([]plan.Target{p})
		s, _ := w.enter("grant-1")
		if n, err := io.Copy(io.Discard, struct{ io.Reader }{s}); err != nil || n != 1<<20 {
			t.Fatal(n, err)
		}
		if took := time.Since(w.begun); took < 9500*time.Millisecond || took > 11*time.Second {
			t.Error("a MiB at 100 KiB a second took", took)
		}
		if r := w.journal.wait(1); r.Received != 1<<20 {
			t.Errorf("%+v", r)
		}
	})
}
