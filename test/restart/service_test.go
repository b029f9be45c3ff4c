package restart

import (
	"context"
	"encoding/json"
	"fmt"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/hubclient"
)

// service is what a program does with the devices, over HTTPS.
type service struct {
	w     *world
	pumps map[string]*pump

	mu       sync.Mutex // guards the fields below
	sent     map[string]string
	told     map[string]string // status by message id, of batches that were completed
	gone     map[string]bool   // of those whose completion nobody answered: they may come again
	invoked  map[string]string // payload by device, of calls that were answered
	versions map[string]int64
}

func (w *world) service(pumps []*pump) *service {
	s := &service{
		w: w, pumps: map[string]*pump{}, sent: map[string]string{}, told: map[string]string{}, gone: map[string]bool{},
		invoked: map[string]string{}, versions: map[string]int64{},
	}
	if _, err := w.hub.SetCommandSettings(w.ctx, hubclient.CommandSettings{
		MaxDeliveryCount: new(100), FeedbackDeliveries: new(100), FeedbackDelaySeconds: new(int64(0)), FeedbackLockSeconds: new(int64(5)),
	}); err != nil {
		w.t.Fatal(err)
	}
	return s.of(pumps)
}

func (s *service) of(pumps []*pump) *service {
	for _, p := range pumps {
		s.pumps[p.id] = p
	}
	return s
}

// work has the service do all that until ctx ends.
func (s *service) work(ctx context.Context) {
	for id, p := range s.pumps {
		s.w.use(ctx, id+" desired", 10*time.Millisecond, func(ctx context.Context) bool { return s.patch(ctx, p) })
		var number int
		s.w.use(ctx, id+" sends", 10*time.Millisecond, func(ctx context.Context) bool {
			number++
			return s.send(ctx, p, fmt.Sprintf("%s-%d", p.id, number))
		})
		var call int
		s.w.use(ctx, id+" methods", 10*time.Millisecond, func(ctx context.Context) bool {
			call++
			return s.invoke(ctx, p, call)
		})
		s.w.joins(id + " commands")
		s.w.use(ctx, id+" looks", 30*time.Millisecond, func(ctx context.Context) bool { return s.look(ctx, p) })
	}
	s.w.use(ctx, "feedback", 10*time.Millisecond, s.hear)
}

// patch changes desired properties. What nobody answered is done again, with the same value.
func (s *service) patch(ctx context.Context, p *pump) bool {
	p.mu.Lock()
	value := p.s + 1
	p.mu.Unlock()
	var t hubclient.Twin
	if !s.w.again(ctx, "a patch of "+p.id, func(ctx context.Context) (err error) {
		t, err = s.w.hub.PatchTwin(ctx, p.id, hubclient.Twin{Properties: hubclient.TwinProperties{Desired: fmt.Appendf(nil, `{"s":%d}`, value)}}, hubclient.Any)
		return err
	}) {
		return false
	}
	s.see(p, t)
	p.mu.Lock()
	p.s = value
	p.mu.Unlock()
	return true
}

// look reads a twin.
func (s *service) look(ctx context.Context, p *pump) bool {
	s.mu.Lock()
	before := s.versions[p.id]
	s.mu.Unlock()
	p.mu.Lock()
	value := p.s
	p.mu.Unlock()
	t, err := s.w.hub.Twin(ctx, p.id)
	if err != nil {
		return false
	}
	if v, got := desired(t); v < before || got < value {
		s.w.wrongly("%s: the service reads version %d and s %d, and had %d and %d before", p.id, v, got, before, value)
	}
	s.see(p, t)
	return true
}

func desired(t hubclient.Twin) (version int64, value int) {
	var d struct {
		S       int
		Version int64 `json:"$version"`
	}
	_ = json.Unmarshal(t.Properties.Desired, &d) // zero is wrong then
	return d.Version, d.S
}

func (s *service) see(p *pump, t hubclient.Twin) {
	s.mu.Lock()
	defer s.mu.Unlock()
	v, _ := desired(t)
	s.versions[p.id] = max(s.versions[p.id], v)
}

// send sends a command once. When nobody answers, nobody knows.
func (s *service) send(ctx context.Context, p *pump, id string) bool {
	c := hubclient.Command{MessageID: id, Ack: "full", Properties: map[string]string{"check": "open " + id}, Body: []byte("open " + id)}
	_, err := s.w.hub.SendCommand(ctx, p.id, c)
	switch {
	case err == nil:
		s.mu.Lock()
		s.sent[id] = p.id
		s.mu.Unlock()
		return true
	case code.Of(err) == code.QueueDepthExceeded:
		return true
	case ctx.Err() == nil && !away(err):
		s.w.wrongly("sending to %s: %v", p.id, err)
	}
	return false
}

// invoke calls a method once.
func (s *service) invoke(ctx context.Context, p *pump, n int) bool {
	payload := fmt.Sprintf(`{"call":%d}`, n)
	a, err := s.w.hub.Invoke(ctx, p.id, hubclient.Method{Name: "measure", Payload: json.RawMessage(payload), Response: 5 * time.Second})
	switch {
	case err == nil && (a.Status != 200 || string(a.Payload) != payload):
		s.w.wrongly("%s answers %d %s to %s", p.id, a.Status, a.Payload, payload)
	case err == nil:
		s.mu.Lock()
		s.invoked[p.id+" "+payload] = "measure " + payload
		s.mu.Unlock()
		return true
	case ctx.Err() == nil && !away(err) && code.Of(err) != code.DeviceNotOnline && code.Of(err) != code.ConnectionClosed:
		s.w.wrongly("calling %s: %v", p.id, err)
	}
	return false
}

// hear receives a batch of feedback and completes it.
func (s *service) hear(ctx context.Context) bool {
	batch, lock, err := s.w.hub.ReceiveFeedback(ctx)
	if err != nil || len(batch) == 0 {
		if err != nil && ctx.Err() == nil && !away(err) {
			s.w.wrongly("receiving feedback: %v", err)
		}
		return false
	}
	s.mu.Lock()
	for _, f := range batch {
		if _, done := s.told[f.MessageID]; done && !s.gone[f.MessageID] {
			s.w.wrongly("feedback about %s comes again, and was completed", f.MessageID)
		}
	}
	s.mu.Unlock()
	err = s.w.hub.CompleteFeedback(ctx, lock)
	if err != nil && ctx.Err() == nil && !away(err) && fault.KindOf(err) != fault.Precondition {
		s.w.wrongly("completing feedback: %v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range batch {
		if _, done := s.told[f.MessageID]; !done || err == nil {
			s.told[f.MessageID] = f.Status
		}
		s.gone[f.MessageID] = err != nil
		if p := s.pumps[f.Device]; p != nil && f.Status == "Success" {
			p.mu.Lock()
			if p.given[f.MessageID] == 0 {
				s.w.wrongly("%s is completed, and %s was not given it", f.MessageID, f.Device)
			}
			p.settled[f.MessageID] = true
			p.mu.Unlock()
		}
	}
	return err == nil
}

// check looks at what became of everything when nobody does anything any more.
func (s *service) check() {
	w := s.w
	for id, p := range s.pumps {
		if err := p.finish(); err != nil {
			w.wrongly("%v", err)
		}
		p.mu.Lock()
		c := p.conn
		p.mu.Unlock()
		c.Close() // what it did not acknowledge comes again
		if err := w.until(func() error {
			d, err := w.hub.Device(w.ctx, id)
			if err == nil && d.Commands > 0 {
				err = fmt.Errorf("%d commands wait", d.Commands)
			}
			return err
		}); err != nil {
			w.wrongly("%s: %v", id, err)
		}
	}
	if err := w.until(func() error {
		s.hear(w.ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		for id, to := range s.sent {
			if s.told[id] == "" {
				return fmt.Errorf("the sender of %s to %s never heard what became of it", id, to)
			}
		}
		return nil
	}); err != nil {
		w.wrongly("%v", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	again, calls := 0, 0
	for id, to := range s.sent {
		p := s.pumps[to]
		p.mu.Lock()
		if p.given[id] == 0 || s.told[id] != "Success" {
			w.wrongly("command %s was acknowledged to its sender, was given to %s %d times, and ended as %q", id, to, p.given[id], s.told[id])
		}
		if p.given[id] > 1 {
			again++
		}
		p.mu.Unlock()
	}
	for key, called := range s.invoked {
		for id, p := range s.pumps {
			if n := p.called[called]; key == id+" "+called[len("measure "):] && n != 1 {
				w.wrongly("%s: %s was answered once and called %d times", id, called, n)
			}
		}
	}
	for id, p := range s.pumps {
		for called, n := range p.called {
			calls++
			if n != 1 {
				w.wrongly("%s: %s was called %d times", id, called, n)
			}
		}
	}
	w.t.Logf("%d commands were acknowledged, %d of them given more than once; %d methods were answered, %d called", len(s.sent), again, len(s.invoked), calls)
	s.checkEvents()
}

// checkEvents reads the built-in endpoint.
func (s *service) checkEvents() {
	w := s.w
	type of struct {
		device string
		seq    int
	}
	plain, marked, last := map[of]int{}, map[of]int{}, map[string]int{}
	if err := w.hub.Events(w.ctx, hubclient.Query{}, func(e hubclient.Event) error {
		var m of
		if n, _ := fmt.Sscanf(string(e.Body), "%s %d", &m.device, &m.seq); n != 2 || s.pumps[m.device] == nil {
			return nil
		}
		if first := plain[m]+marked[m] == 0; first {
			if want := last[m.device]; m.seq != want {
				w.wrongly("%s: message %d comes where %d should be", m.device, m.seq, want)
			}
			last[m.device] = m.seq + 1
		}
		if e.Properties["mqtt-dup"] == "true" {
			marked[m]++
		} else {
			plain[m]++
		}
		return nil
	}); err != nil {
		w.wrongly("reading events: %v", err)
	}
	total, twice, again := 0, 0, 0
	for id, p := range s.pumps {
		p.mu.Lock()
		again += p.again
		for seq := range p.acked {
			m := of{id, seq}
			total++
			switch {
			case plain[m]+marked[m] == 0:
				w.wrongly("%s: message %d was acknowledged and is not there", id, seq)
			case plain[m] > 1:
				w.wrongly("%s: message %d is there %d times without a mark", id, seq, plain[m])
			case plain[m]+marked[m] > 1:
				twice++
			}
		}
		p.mu.Unlock()
	}
	w.t.Logf("%d messages were acknowledged; %d were sent again, and %d are there twice, marked", total, again, twice)
}
