package hub_test

import (
	"flag"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// twin is what a queue should be, in the plainest way: everything is looked at before every step.
type twin struct {
	now   time.Time
	max   int // deliveries
	lists map[hub.Name][]*message
	ended []string // feedback, since it was read last
}

type message struct {
	id      string
	ack     string
	expires time.Time
	count   int
	lock    string
	until   time.Time // zero: a session has it
	session int       // which one
}

func (w *twin) end(n hub.Name, m *message, status string) {
	w.lists[n] = slices.DeleteFunc(w.lists[n], func(x *message) bool { return x == m })
	if m.ack == hub.AckFull || (m.ack == hub.AckPositive) == (status == "Success") && m.ack != hub.AckNone {
		w.ended = append(w.ended, m.id+" "+status)
	}
}

func (w *twin) back(n hub.Name, m *message) {
	m.count++
	m.lock, m.until = "", time.Time{}
	switch {
	case m.count >= w.max:
		w.end(n, m, "DeliveryCountExceeded")
	case !m.expires.After(w.now):
		w.end(n, m, "Expired")
	}
}

// settle does what time alone does.
func (w *twin) settle() {
	for n, list := range w.lists {
		for _, m := range slices.Clone(list) {
			if m.lock != "" && !m.until.IsZero() && !m.until.After(w.now) {
				w.back(n, m)
			}
		}
		for _, m := range slices.Clone(w.lists[n]) {
			if m.lock == "" && !m.expires.After(w.now) {
				w.end(n, m, "Expired")
			}
		}
	}
}

func (w *twin) free(n hub.Name) *message {
	for _, m := range w.lists[n] {
		if m.lock == "" {
			return m
		}
	}
	return nil
}

func (w *twin) locked(n hub.Name, lock string) *message {
	for _, m := range w.lists[n] {
		if lock != "" && m.lock == lock {
			return m
		}
	}
	return nil
}

// TestQueueAgainstATwin plays random steps of a service, of HTTPS devices, of sessions, of time and of restarts.
func TestQueueAgainstATwin(t *testing.T) {
	for name, value := range map[string]string{"rapid.checks": "12", "rapid.steps": "150"} { // each step is a commit to a disk
		if f := flag.Lookup(name); f.Value.String() == f.DefValue {
			if err := f.Value.Set(value); err != nil {
				t.Fatal(err)
			}
		}
	}
	w := newWorld(t)
	w.unlimited()
	names := []hub.Name{device, module}
	w.identity(module)
	settings := w.hub().CommandSettings()
	settings.FeedbackDelay, settings.MaxDeliveryCount, settings.FeedbackTTL = 0, 3, 48*time.Hour
	if err := w.hub().SetCommandSettings(t.Context(), settings); err != nil {
		t.Fatal(err)
	}
	ids := 0
	rapid.Check(t, func(rt *rapid.T) {
		m := &twin{now: w.clock.Now(), max: settings.MaxDeliveryCount, lists: map[hub.Name][]*message{}}
		for _, n := range names {
			if _, err := w.hub().PurgeCommands(t.Context(), n); err != nil {
				rt.Fatal(err)
			}
		}
		w.feedback()
		sessions := map[hub.Name]*player{}
		numbers := map[hub.Name]int{}
		count := 0
		var locks []string // that were ever given
		whose := map[string]hub.Name{}
		// lately draws one of the last locks, mostly with who was given it.
		lately := func(rt *rapid.T) (hub.Name, string) {
			lock := locks[len(locks)-1-rapid.IntRange(0, min(len(locks)-1, 3)).Draw(rt, "lock")]
			if n := whose[lock]; rapid.IntRange(0, 9).Draw(rt, "who") > 0 {
				return n, lock
			}
			return names[0], lock
		}
		defer func() {
			for _, p := range sessions {
				p.End()
			}
			w.barrier()
		}()
		name := rapid.SampledFrom(names)
		ack := rapid.SampledFrom([]string{hub.AckNone, hub.AckPositive, hub.AckNegative, hub.AckFull})
		give := func(rt *rapid.T, n hub.Name, got *hub.Command, want *message, until time.Time, session int) {
			if (got == nil) != (want == nil) {
				rt.Fatalf("given %+v, want %+v", got, want)
			}
			if got == nil {
				return
			}
			if got.MessageID != want.id || got.DeliveryCount != want.count || got.Lock == "" || slices.Contains(locks, got.Lock) {
				rt.Fatalf("given %+v, want %+v", *got, *want)
			}
			want.lock, want.until, want.session = got.Lock, until, session
			locks = append(locks, got.Lock)
			whose[got.Lock] = n
		}
		// outcome checks what settling by a lock should say, and does the same to the twin.
		outcome := func(rt *rapid.T, n hub.Name, lock, what string, err error) {
			x := m.locked(n, lock)
			if x == nil {
				if code.Of(err) != code.MessageLockLost {
					rt.Fatalf("%s with a lock that holds nothing: %v", what, err)
				}
				return
			}
			if err != nil {
				rt.Fatalf("%s: %v", what, err)
			}
			switch what {
			case "complete":
				m.end(n, x, "Success")
			case "reject":
				m.end(n, x, "Rejected")
			default:
				m.back(n, x)
			}
		}
		what := rapid.SampledFrom([]string{"complete", "reject", "abandon", "abandon"})
		step := func(f func(rt *rapid.T)) func(*rapid.T) {
			return func(rt *rapid.T) {
				m.settle()
				f(rt)
			}
		}
		end := func(p *player, n hub.Name, number int) {
			p.End()
			w.barrier()
			for _, x := range slices.Clone(m.lists[n]) {
				if x.lock != "" && x.until.IsZero() && x.session == number {
					m.back(n, x)
				}
			}
		}
		rt.Repeat(map[string]func(*rapid.T){
			"send": step(func(rt *rapid.T) {
				n, many := name.Draw(rt, "to"), rapid.SampledFrom([]int{1, 1, 1, 3, 20}).Draw(rt, "many")
				for range many {
					ids++
					c := hub.Command{MessageID: fmt.Sprint("m", ids), Ack: ack.Draw(rt, "ack"), Expires: m.now.Add(time.Duration(rapid.IntRange(0, 300).Draw(rt, "ttl")) * time.Second)}
					sent, err := w.hub().SendCommand(t.Context(), n, c)
					m.settle() // one sent with no time left
					if len(m.lists[n]) >= hub.MaxQueue {
						if code.Of(err) != code.QueueDepthExceeded {
							rt.Fatalf("the queue is full: %v", err)
						}
						continue
					}
					if err != nil {
						rt.Fatal(err)
					}
					m.lists[n] = append(m.lists[n], &message{id: c.MessageID, ack: c.Ack, expires: sent.Expires})
				}
			}),
			"receive": step(func(rt *rapid.T) {
				n, lock := name.Draw(rt, "who"), time.Duration(rapid.IntRange(5, 60).Draw(rt, "lock"))*time.Second
				got, err := w.hub().ReceiveCommand(t.Context(), n, lock)
				if err != nil {
					rt.Fatal(err)
				}
				give(rt, n, got, m.free(n), m.now.Add(lock), 0)
			}),
			"settle": step(func(rt *rapid.T) {
				if len(locks) == 0 {
					return
				}
				n, lock := lately(rt)
				what := what.Draw(rt, "what")
				do := map[string]func(*hub.Hub) error{
					"complete": func(h *hub.Hub) error { return h.CompleteCommand(t.Context(), n, lock) },
					"reject":   func(h *hub.Hub) error { return h.RejectCommand(t.Context(), n, lock) },
					"abandon":  func(h *hub.Hub) error { return h.AbandonCommand(t.Context(), n, lock) },
				}[what]
				outcome(rt, n, lock, what, do(w.hub()))
			}),
			"connect": step(func(rt *rapid.T) {
				n := name.Draw(rt, "who")
				last, first := rapid.Bool().Draw(rt, "the old one settles something"), rapid.Bool().Draw(rt, "the new one is faster than the end of the old one")
				count++
				old, number := sessions[n], numbers[n]
				sessions[n], numbers[n] = w.play(n, hub.Commands), count
				if old == nil {
					return
				}
				if last {
					for _, x := range m.lists[n] {
						if x.until.IsZero() && x.lock != "" {
							outcome(rt, n, x.lock, "complete", wait(old.Complete, x.lock))
							break
						}
					}
				}
				if first {
					var want *message
					for _, x := range slices.Clone(m.lists[n]) {
						if x.lock != "" && x.until.IsZero() && x.session == number {
							m.back(n, x)
						}
						if x.lock == "" && slices.Contains(m.lists[n], x) {
							want = x
							break
						}
					}
					give(rt, n, sessions[n].next(), want, time.Time{}, numbers[n])
				}
				end(old, n, number)
			}),
			"next": step(func(rt *rapid.T) {
				n := name.Draw(rt, "who")
				if p := sessions[n]; p != nil {
					give(rt, n, p.next(), m.free(n), time.Time{}, numbers[n])
				}
			}),
			"settle in the session": step(func(rt *rapid.T) {
				if len(locks) == 0 {
					return
				}
				n, lock := lately(rt)
				what, p := what.Draw(rt, "what"), sessions[n]
				if p == nil {
					return
				}
				do := map[string]func(string, func(error)){"complete": p.Complete, "reject": p.Reject, "abandon": p.Abandon}[what]
				outcome(rt, n, lock, what, wait(do, lock))
			}),
			"end": step(func(rt *rapid.T) {
				n := name.Draw(rt, "who")
				if p := sessions[n]; p != nil {
					delete(sessions, n)
					end(p, n, numbers[n])
				}
			}),
			"purge": step(func(rt *rapid.T) {
				n := name.Draw(rt, "whose")
				got, err := w.hub().PurgeCommands(t.Context(), n)
				if err != nil || got != len(m.lists[n]) {
					rt.Fatalf("purged %d of %d, %v", got, len(m.lists[n]), err)
				}
				for _, x := range slices.Clone(m.lists[n]) {
					m.end(n, x, "Purged")
				}
			}),
			"time": func(rt *rapid.T) {
				d := time.Duration(rapid.IntRange(1, 60).Draw(rt, "seconds")) * time.Second
				w.clock.Advance(d)
				m.now = m.now.Add(d)
				if rapid.Bool().Draw(rt, "a sweep") {
					w.sweep()
				}
			},
			"restart": step(func(rt *rapid.T) {
				if rapid.IntRange(0, 9).Draw(rt, "really") > 0 {
					return
				}
				if err := w.server.Close(); err != nil {
					rt.Fatal(err)
				}
				w.open()
				clear(sessions)
				for _, list := range m.lists {
					for _, x := range list {
						if x.lock != "" && x.until.IsZero() { // nobody is there to notice that it is one too many
							x.count++
							x.lock = ""
						}
					}
				}
			}),
			// Not after every step, because what nobody looked at must end in the same way.
			"look": step(func(rt *rapid.T) {
				w.sweep()
				for _, n := range names {
					if got := w.depth(n); got != len(m.lists[n]) {
						rt.Fatalf("%s: %d wait, want %d", n, got, len(m.lists[n]))
					}
				}
				got, want := w.feedback(), m.ended
				slices.Sort(got)
				slices.Sort(want)
				if strings.Join(got, ",") != strings.Join(want, ",") {
					rt.Fatalf("feedback %q, want %q", got, want)
				}
				m.ended = nil
			}),
		})
	})
}

// barrier returns when everything that was submitted is durable.
func (w *world) barrier() {
	w.t.Helper()
	if err := w.server.Store().Together(w.t.Context(), func(*hubstore.Tx) error { return nil }, nil); err != nil {
		w.t.Fatal(err)
	}
}
