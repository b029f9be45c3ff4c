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
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

func TestASessionIsToldOfFromBeginningToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gate.Config{}, nil)
		w.gate.Set([]plan.Target{w.target()})
		s, m := w.enter("grant-1")
		send(t, s, "hello")
		expect(t, m, "hello")
		send(t, m, "and back")
		expect(t, s, "and back")

		list := w.gate.Sessions()
		if len(list) != 1 {
			t.Fatal(list)
		}
		if i := list[0]; i.Target != "ot/plant-7/press-4-ssh" || i.Person != "alice-uid of ot" || i.Sent != 5 || i.Received != 8 || i.Grant != "grant-1" ||
			!i.Until.Equal(w.begun.Add(time.Hour)) || i.From.String() != "203.0.113.9:4711" {
			t.Errorf("%+v", i)
		}
		if n := w.metric("sessions", ""); n != 1 {
			t.Error("open:", n)
		}
		if n := w.metric("received_bytes_total", ""); n != 8 {
			t.Error("received:", n)
		}
		time.Sleep(time.Minute) // of the bubble's
		must(t, s.CloseWrite())
		must(t, m.Close())
		if _, err := s.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
		opened, ended := w.journal.wait(0), w.journal.wait(1)
		if err := opened.Check(); err != nil {
			t.Error(err)
		}
		if err := ended.Check(); err != nil {
			t.Error(err)
		}
		if opened.Phase != session.Opened || opened.Session != list[0].Session || opened.Grant != "grant-1" || opened.Target != "target-1" ||
			opened.Person != string(alice) || opened.From != "203.0.113.9:4711" || opened.To != "127.0.0.1:22" || !opened.At.Equal(w.begun) {
			t.Errorf("%+v", opened)
		}
		if ended.Phase != session.Ended || ended.Session != opened.Session || ended.End != session.EndClosed || ended.Sent != 5 || ended.Received != 8 ||
			!ended.Opened.Equal(opened.At) || !ended.At.Equal(w.begun.Add(time.Minute)) || ended.To != opened.To {
			t.Errorf("%+v", ended)
		}
		synctest.Wait()
		if n := w.metric("sessions", "") + float64(len(w.gate.Sessions())); n != 0 {
			t.Error("open:", n)
		}
		if w.metric("sessions_total", "closed") != 1 || w.metric("sent_bytes_total", "") != 5 || w.metric("received_bytes_total", "") != 8 {
			t.Error("totals are wrong")
		}
	})
}

// Each way in which a session is cut: what the person is told, and when.
func TestSessionsEnd(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*plan.Target) // of the plan at the beginning
		do     func(*world)       // what ends it; nil: time
		after  time.Duration      // from the beginning
		slack  time.Duration
		end    session.End
		code   tunnel.ResetCode
		words  string
	}{
		"expiry":        {after: time.Hour, end: session.EndExpired, code: tunnel.ResetRevoked, words: "the grant ended at 2000-01-01 01:00 UTC"},
		"working hours": {change: saturday("00:00", "00:20"), after: 20 * time.Minute, end: session.EndExpired, code: tunnel.ResetRevoked, words: "working hours"},
		"idle": {
			change: func(p *plan.Target) { p.Limits.IdleMinutes = 10 },
			after:  10 * time.Minute, slack: 2 * time.Minute, end: session.EndIdle, code: tunnel.ResetTimeout, words: "nothing moved for 10m0s",
		},
		"total": {
			change: func(p *plan.Target) { p.Limits.TotalMinutes = 30 },
			after:  30 * time.Minute, end: session.EndTotal, code: tunnel.ResetTimeout, words: "30m0s",
		},
		"revoked": {
			do: func(w *world) {
				p := w.target()
				p.Grants = nil
				w.gate.Set([]plan.Target{p})
			},
			end: session.EndRevoked, code: tunnel.ResetRevoked, words: "the grant was revoked",
		},
		"target gone": {do: func(w *world) { w.gate.Set(nil) }, end: session.EndRevoked, code: tunnel.ResetRevoked, words: "disabled or deleted"},
		"another address": {
			do: func(w *world) {
				p := w.target()
				p.Address = "127.0.0.1:23"
				w.gate.Set([]plan.Target{p})
			},
			end: session.EndRevoked, code: tunnel.ResetRevoked, words: "somewhere else",
		},
		"to be recorded": {
			do: func(w *world) {
				p := w.target()
				p.Record = &plan.Recording{}
				w.gate.Set([]plan.Target{p})
			},
			end: session.EndRevoked, code: tunnel.ResetRevoked, words: "recorded",
		},
		"shortened": {
			do: func(w *world) {
				time.Sleep(time.Minute)
				p := w.target()
				p.Grants[0].Until = w.begun.Add(time.Minute)
				w.gate.Set([]plan.Target{p})
			},
			after: time.Minute, end: session.EndExpired, code: tunnel.ResetRevoked, words: "the grant ended at 2000-01-01 00:01 UTC",
		},
		"stopping": {do: func(w *world) { w.stop() }, end: session.EndStopping, code: tunnel.ResetShuttingDown, words: "stopping"},
		"corrected clock": {
			do:  func(w *world) { w.gate.SetOffset(time.Hour) },
			end: session.EndExpired, code: tunnel.ResetRevoked, words: "the grant ended at 2000-01-01 01:00 UTC",
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, gate.Config{}, nil)
				p := w.target()
				if c.change != nil {
					c.change(&p)
				}
				w.gate.Set([]plan.Target{p})
				s, m := w.enter("grant-1")
				send(t, s, "x")
				expect(t, m, "x")
				if c.do != nil {
					c.do(w)
				}
				reset := cut(t, s)
				if reset.Code != c.code || !strings.Contains(reset.Message, c.words) {
					t.Error(reset)
				}
				if took := time.Since(w.begun); took < c.after || took > c.after+c.slack+time.Second {
					t.Errorf("after %s, not %s", took, c.after)
				}
				if _, err := m.Read(make([]byte, 1)); err == nil {
					t.Error("the machine reads on")
				}
				r := w.journal.wait(1)
				if r.End != c.end || r.Words != reset.Message || r.Sent != 1 || r.Check() != nil {
					t.Errorf("%+v", r)
				}
			})
		})
	}
}

func saturday(from, to string) func(*plan.Target) {
	return func(p *plan.Target) { p.Grants[0].Hours = hours(from, to, "Sat") }
}

// Set has cut when it returns: nothing may be waited for.
func TestWhatIsRevokedIsCutWhenSetReturns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gate.Config{}, nil)
		w.gate.Set([]plan.Target{w.target()})
		_, m := w.enter("grant-1")
		w.gate.Set(nil)
		if _, err := m.Write([]byte("x")); err == nil {
			t.Error("the machine writes on")
		}
	})
}

func TestSessionsGoOnWithNewLimitsAndEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gate.Config{}, nil)
		p := w.target()
		w.gate.Set([]plan.Target{p})
		s, m := w.enter("grant-1")
		time.Sleep(50 * time.Minute)
		p.Grants[0].Until = w.begun.Add(2 * time.Hour)
		p.Grants[0].Name = "alice"
		w.gate.Set([]plan.Target{p})
		time.Sleep(50 * time.Minute)
		send(t, s, "still here")
		expect(t, m, "still here")
		if i := w.gate.Sessions()[0]; i.Person != "alice" || !i.Until.Equal(w.begun.Add(2*time.Hour)) {
			t.Errorf("%+v", i)
		}
		p.Limits.IdleMinutes = 5
		w.gate.Set([]plan.Target{p})
		cut(t, s)
		if took := time.Since(w.begun); took < 105*time.Minute || took > 107*time.Minute {
			t.Error("after", took)
		}
		if r := w.journal.wait(1); r.End != session.EndIdle {
			t.Errorf("%+v", r)
		}
	})
}

// A session in which something moves is not idle, whichever way.
func TestWhatMovesIsNotIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gate.Config{}, nil)
		p := w.target()
		p.Limits.IdleMinutes = 1
		w.gate.Set([]plan.Target{p})
		s, m := w.enter("grant-1")
		for range 20 {
			time.Sleep(50 * time.Second)
			send(t, m, "x")
			expect(t, s, "x")
		}
		cut(t, s)
		if took := time.Since(w.begun); took < 1060*time.Second || took > 1070*time.Second {
			t.Error("after", took)
		}
	})
}

// Hours that follow each other without a gap do not end a session.
func TestWorkingHoursThatMeet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gate.Config{}, nil)
		p := w.target()
		p.Grants[0].Until = w.begun.Add(72 * time.Hour)
		p.Grants[0].Hours = hours("00:00", "24:00", "Sat", "Sun")
		w.gate.Set([]plan.Target{p})
		s, _ := w.enter("grant-1")
		cut(t, s)
		if took := time.Since(w.begun); took < 48*time.Hour || took > 48*time.Hour+time.Second {
			t.Error("after", took)
		}
	})
}

func TestRefusalsSayWhy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, gate.Config{Allow: []string{"127.0.0.0/8"}}, nil)
		p, other, recorded, late, away := w.target(), w.target(), w.target(), w.target(), w.target()
		p.Limits.Each = 1
		other.ID, other.Grants = "target-2", []plan.Grant{w.grant("grant-2", bob)}
		recorded.ID, recorded.Record, recorded.Grants = "target-3", &plan.Recording{}, []plan.Grant{w.grant("grant-3", alice)}
		late.ID, late.Grants = "target-4", []plan.Grant{w.grant("grant-4", alice), w.grant("grant-5", alice), w.grant("grant-6", alice)}
		late.Grants[0].From = w.begun.Add(time.Minute)
		late.Grants[1].Until = w.begun
		late.Grants[2].Hours = hours("08:00", "09:00", "Mon")
		away.ID, away.Address, away.Grants = "target-5", "192.0.2.1:22", []plan.Grant{w.grant("grant-7", alice)}
		w.gate.Set([]plan.Target{p, other, recorded, late, away})
		w.enter("grant-1")
		for i, c := range []struct {
			grant, words string
			end          session.End
		}{
			{"grant-9", "no grant of yours", session.NoGrant},
			{"grant-2", "no grant of yours", session.NotYours},
			{"grant-3", "recorded", session.NotRecordable},
			{"grant-4", "does not begin before 2000-01-01 00:01 UTC", session.NotNow},
			{"grant-5", "ended at 2000-01-01 00:00 UTC", session.NotNow},
			{"grant-6", "begin again at 2000-01-03 08:00 UTC", session.NotNow},
			{"grant-7", "own settings", session.NotAllowedHere},
			{"grant-1", "as many sessions", session.TooMany},
		} {
			reset := w.refused(c.grant)
			if reset.Code != tunnel.ResetRefused || !strings.Contains(reset.Message, c.words) {
				t.Errorf("%s: %s", c.grant, reset)
			}
			r := w.journal.wait(i + 1)
			if r.Phase != session.Refused || r.End != c.end || r.Grant != c.grant || r.Person != string(alice) || r.Words != reset.Message || r.Check() != nil {
				t.Errorf("%+v", r)
			}
			if n := w.metric("refused_total", string(c.end)); n == 0 {
				t.Error("not counted:", c.end)
			}
		}
		w.peer = identity.AgentID(trust, "ot", "plant-7", "gw-1")
		if reset := w.refused("grant-1"); !strings.Contains(reset.Message, "only people") {
			t.Error(reset)
		}
	})
}

func TestTheTargetsTroublesAreTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var answer error
		w := newWorld(t, gate.Config{Dial: func(ctx context.Context, p *plan.Target) (net.Conn, error) {
			if answer == nil {
				<-ctx.Done()
				return nil, ctx.Err()
			}
			return nil, answer
		}}, nil)
		w.gate.Set([]plan.Target{w.target()})
		n := 0
		try := func(err error, code tunnel.ResetCode, end session.End, words string) {
			t.Helper()
			answer = err
			if reset := w.refused("grant-1"); reset.Code != code || !strings.Contains(reset.Message, words) {
				t.Error(reset)
			}
			if r := w.journal.wait(n); r.Phase != session.Refused || r.End != end {
				t.Errorf("%+v", r)
			}
			n++
			if p := w.gate.Problems(); len(p) != 1 || !strings.Contains(p[0], words) || !strings.Contains(p[0], "press-4-ssh") {
				t.Error(p)
			}
		}
		try(fault.New("hub.Open", fault.Denied, "the device rejected the stream"), tunnel.ResetTargetClosed, session.RejectedThere, "the device rejected")
		try(fault.New("hub.Open", fault.Unavailable, "the device is not connected"), tunnel.ResetUnreachable, session.Unreachable, "not connected")
		try(nil, tunnel.ResetUnreachable, session.Unreachable, "does not answer") // a minute of the bubble
		try(errors.New("no route"), tunnel.ResetUnreachable, session.Unreachable, "no route")
		time.Sleep(time.Hour)
		if p := w.gate.Problems(); len(p) != 0 {
			t.Error("an hour later:", p)
		}
	})
}

// Whoever goes away while the target is dialled, or is cut then, holds nothing.
func TestCutWhileTheTargetIsDialled(t *testing.T) {
	for name, c := range map[string]struct {
		do  func(*world)
		end session.End
	}{
		"revoked": {func(w *world) { w.gate.Set(nil) }, session.EndRevoked},
		"expired": {func(*world) { time.Sleep(30 * time.Second) }, session.EndExpired},
		"gone":    {nil, session.EndBroken},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, gate.Config{Dial: func(ctx context.Context, p *plan.Target) (net.Conn, error) {
					<-ctx.Done()
					return nil, ctx.Err()
				}}, nil)
				p := w.target()
				p.Grants[0].Until = w.begun.Add(30 * time.Second)
				w.gate.Set([]plan.Target{p})
				s := w.open("grant-1")
				synctest.Wait()
				if len(w.gate.Sessions()) != 1 {
					t.Fatal("not listed while it is dialled")
				}
				if c.do == nil {
					s.Reset(tunnel.ResetPeer, "")
				} else {
					c.do(w)
					cut(t, s)
				}
				synctest.Wait()
				if r := w.journal.wait(0); r.Phase != session.Refused || r.End != c.end || len(w.gate.Sessions()) != 0 || len(w.gate.Problems()) != 0 {
					t.Errorf("%+v %v", r, w.gate.Problems())
				}
			})
		})
	}
}
