package gateway

import (
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/backoff"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/gateway/carry"
	"github.com/isthmus-io/isthmus/gateway/handover"
)

// listening is one address that is wanted. Its fields are guarded by the gateway's mu.
type listening struct {
	key      string // as handover.Key gives it, and the entrance's name
	name     string // ot/ot-cloud/front/mqtt
	entrance *carry.Entrance
	listener *carry.Listener // nil: it could not be opened
	problem  string
	again    time.Time // when it is tried again
	wait     backoff.Backoff
}

// relisten brings what is listened on in line with the fronts. It is called with setting held.
func (g *Gateway) relisten(fronts []*front) {
	slices.SortFunc(fronts, func(a, b *front) int { return strings.Compare(a.name, b.name) })
	doors := map[string]*door{}
	var want []*listening
	seen := map[string]string{}
	for _, f := range fronts {
		p := f.now().decide.Gateway()
		for i := range p.Listeners {
			l := &p.Listeners[i]
			e := entrance(p, l)
			w := &listening{key: e.Name, name: f.name + "/" + l.Name, entrance: e}
			if other, taken := seen[w.key]; taken {
				w.problem = "it has the address of " + other
			} else {
				seen[w.key] = w.name
				doors[w.key] = &door{front: f, address: addressOf(l)}
			}
			want = append(want, w)
		}
	}
	g.doors.Store(&doors)

	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != serving {
		return // whoever drains listens no more, but goes by new rules
	}
	before := g.open
	g.open = map[string]*listening{}
	for _, w := range want {
		if w.problem != "" {
			g.open[w.name] = w // nobody's key
			g.log.Warn("a listener is left out", "listener", w.name, "problem", w.problem)
			continue
		}
		if b := before[w.key]; b != nil {
			delete(before, w.key)
			w.listener, w.problem, w.again, w.wait = b.listener, b.problem, b.again, b.wait
		}
		g.open[w.key] = w
		if w.listener != nil {
			g.carrier.Replace(w.listener, w.entrance)
		} else {
			g.listen(w)
		}
	}
	for _, b := range before {
		if b.listener != nil {
			g.log.Info("no longer listening", "listener", b.name, "address", b.key)
			g.carrier.Close(b.listener)
		}
	}
	for _, w := range g.open {
		if w.listener == nil && !w.again.IsZero() && len(before) > 0 {
			g.listen(w) // what was closed just now may have been in its way
		}
	}
	handover.CloseAll(g.inherited)
	g.inherited = nil
}

// listen opens an address, by the sockets of the process before this one where it gave some. It is called with mu held.
func (g *Gateway) listen(w *listening) {
	var err error
	if i := slices.IndexFunc(g.inherited, func(s handover.Socket) bool { return s.Address == w.key && len(s.Files) > 0 }); i >= 0 {
		w.listener, err = g.carrier.Adopt(w.entrance, g.inherited[i].Files)
	} else {
		w.listener, err = g.carrier.Listen(w.key, w.entrance)
	}
	if err == nil {
		w.problem, w.again = "", time.Time{}
		w.wait.Reset()
		g.log.Info("listening", "listener", w.name, "address", w.listener.Addr())
		return
	}
	w.listener = nil
	w.wait.Base, w.wait.Max = 500*time.Millisecond, 10*time.Second
	w.again = g.clk.Now().Add(w.wait.Next())
	if words := fault.Message(err); words != w.problem {
		g.log.Warn("a listener cannot be opened yet", "listener", w.name, "address", w.key, "error", words, "next", fault.Next(err))
		w.problem = words
	}
}

// nextTry is when a listener is to be tried again.
func (g *Gateway) nextTry() (next time.Time, ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.phase != serving {
		return next, false
	}
	for _, w := range g.open {
		if w.listener == nil && !w.again.IsZero() && (!ok || w.again.Before(next)) {
			next, ok = w.again, true
		}
	}
	return next, ok
}

// retry opens listeners whose time has come.
func (g *Gateway) retry() {
	g.setting.Lock()
	defer g.setting.Unlock()
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clk.Now()
	for _, w := range g.open {
		if g.phase == serving && w.listener == nil && !w.again.IsZero() && !now.Before(w.again) {
			g.listen(w)
		}
	}
}
