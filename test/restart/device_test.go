package restart

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/test/device"
)

// window is how many messages a device has under way.
const window = 8

// pump is a device that does all that a device can do, over MQTT, as long as the hub is there, and connects again when it is back.
type pump struct {
	w   *world
	id  string
	key string

	mu       sync.Mutex // guards the fields below
	conn     *device.Device
	sent     int          // messages of telemetry: 0 to sent-1
	flying   []int        // not acknowledged, in order
	acked    map[int]bool //
	again    int          // sent again because nobody had acknowledged them
	n        int          // last value of reported property n that was sent
	unsure   bool         // and not answered
	late     bool         // the one before it may still have been merged after the twin was read
	reported int64        // version of reported properties: what was seen last
	desired  int64        // version of desired properties: the highest that was seen
	noticed  int64        // and the last that it was told of
	s        int          // last value of desired property s that the service's patch was acknowledged for
	given    map[string]int
	silent   int             // commands it did not acknowledge, to be given them again
	settled  map[string]bool // commands of which the service has heard that they are completed
	called   map[string]int  // methods, by their payload
	finished bool            // it sends nothing new
}

func (w *world) pump(id string) *pump {
	w.t.Helper()
	d, err := w.hub.Create(w.ctx, hubclient.Device{ID: id})
	must(w.t, err)
	p := &pump{w: w, id: id, key: d.Authentication.Keys.Primary, acked: map[int]bool{}, given: map[string]int{}, settled: map[string]bool{}, called: map[string]int{}}
	w.joins(id+" telemetry", id+" reports")
	w.users.Go(func() {
		for w.ctx.Err() == nil {
			p.live()
		}
	})
	return p
}

// live is one connection.
func (p *pump) live() {
	c, err := device.Dial(p.w.ctx, device.Config{
		Address: p.w.MQTT, TLS: p.w.TLS("contoso.azure-devices.net"), ID: p.id, Key: p.key, Persist: true,
		Desired: p.toldDesired, Command: p.command, Method: p.method,
	})
	if err != nil {
		if err := awayUnlessRefused(err); p.w.ctx.Err() == nil && !away(err) {
			p.w.wrongly("%s: %v", p.id, err)
		}
		p.w.rest(p.w.ctx, 20*time.Millisecond)
		return
	}
	ctx, cancel := context.WithCancel(p.w.ctx)
	defer cancel()
	defer context.AfterFunc(ctx, func() { _ = c.Conn.Close() })()
	p.mu.Lock()
	p.conn = c
	p.mu.Unlock()
	var both sync.WaitGroup
	both.Go(func() { p.telemetry(ctx, c) })
	both.Go(func() { p.reports(ctx, c) })
	<-c.Ended()
	cancel()
	both.Wait()
}

// twin is what a device reads of its own.
type twin struct {
	Desired struct {
		S       int
		Version int64 `json:"$version"`
	}
	Reported struct {
		N       int
		Version int64 `json:"$version"`
	}
}

// look reads the twin and compares it with what was seen and acknowledged before.
func (p *pump) look(ctx context.Context, c *device.Device) bool {
	p.mu.Lock()
	desired, s := p.desired, p.s
	p.mu.Unlock()
	text, err := c.Twin(ctx)
	if err != nil {
		return false
	}
	var t twin
	if err := json.Unmarshal(text, &t); err != nil {
		p.w.wrongly("%s: its twin is %s", p.id, text)
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	done := t.Reported.N == p.n
	if !done && (!p.unsure || t.Reported.N != p.n-1) {
		p.w.wrongly("%s: reported n is %d, and %d was sent last (unanswered: %v)", p.id, t.Reported.N, p.n, p.unsure)
	}
	want := p.reported
	if p.unsure && done {
		want++
	}
	if t.Reported.Version != want && p.reported != 0 {
		p.w.wrongly("%s: reported properties have version %d after %d (unanswered: %v, done: %v)", p.id, t.Reported.Version, p.reported, p.unsure, done)
	}
	p.late = p.unsure && !done // it may have been on its way when the twin was read
	p.reported, p.unsure, p.n = t.Reported.Version, false, t.Reported.N
	if t.Desired.Version < desired || t.Desired.S < s {
		p.w.wrongly("%s: desired properties have version %d and s %d, and were at %d and %d before", p.id, t.Desired.Version, t.Desired.S, desired, s)
	}
	p.desired = max(p.desired, t.Desired.Version)
	return true
}

// reports patches reported properties one after the other.
func (p *pump) reports(ctx context.Context, c *device.Device) {
	if !p.look(ctx, c) {
		return
	}
	for ctx.Err() == nil {
		p.mu.Lock()
		p.n++
		p.unsure = true
		n := p.n
		p.mu.Unlock()
		version, err := c.Report(ctx, fmt.Appendf(nil, `{"n":%d,"last":{"k%d":%d}}`, n, n%10, n))
		var failed device.Failed
		if errors.As(err, &failed) {
			p.w.wrongly("%s: a patch is refused: %v", p.id, failed)
		}
		if err != nil {
			return
		}
		p.mu.Lock()
		if version != p.reported+1 && (!p.late || version != p.reported+2) {
			p.w.wrongly("%s: version %d of reported properties comes after %d", p.id, version, p.reported)
		}
		p.reported, p.unsure, p.late = version, false, false
		p.mu.Unlock()
		p.w.count(p.id + " reports")
		p.w.rest(ctx, 10*time.Millisecond)
	}
}

// telemetry sends again what was not acknowledged, and goes on with new messages.
func (p *pump) telemetry(ctx context.Context, c *device.Device) {
	room := make(chan struct{}, window)
	p.mu.Lock()
	old := append([]int(nil), p.flying...)
	p.again += len(old)
	p.mu.Unlock()
	send := func(seq int, dup bool) bool {
		return c.Send(fmt.Sprintf("seq=%d", seq), fmt.Appendf(nil, "%s %d", p.id, seq), dup, func() {
			p.mu.Lock()
			p.acked[seq] = true
			for i, f := range p.flying {
				if f == seq {
					p.flying = append(p.flying[:i:i], p.flying[i+1:]...)
					break
				}
			}
			p.mu.Unlock()
			p.w.count(p.id + " telemetry")
			<-room
		}) == nil
	}
	take := func() bool {
		select {
		case room <- struct{}{}:
			return true
		case <-ctx.Done():
			return false
		}
	}
	for _, seq := range old {
		if !take() || !send(seq, true) {
			return
		}
	}
	for take() {
		p.mu.Lock()
		seq, finished := p.sent, p.finished
		if !finished {
			p.sent++
			p.flying = append(p.flying, seq)
		}
		p.mu.Unlock()
		if finished || !send(seq, false) {
			return
		}
		p.w.rest(ctx, 2*time.Millisecond)
	}
}

func (p *pump) toldDesired(version int64, patch []byte) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if version <= p.noticed { // reading the twin may have told more than that already
		p.w.wrongly("%s: is told of version %d of desired properties after %d: %s", p.id, version, p.noticed, patch)
	}
	p.noticed, p.desired = version, max(p.desired, version)
}

// command acknowledges most of what comes, and the rest when it comes again.
func (p *pump) command(c device.Command) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.settled[c.MessageID] {
		p.w.wrongly("%s: command %s comes, and its sender was told that it is completed", p.id, c.MessageID)
	}
	if p.given[c.MessageID] > 0 && !c.Dup {
		p.w.wrongly("%s: command %s comes again without DUP", p.id, c.MessageID)
	}
	if want := c.Properties["check"]; string(c.Body) != want {
		p.w.wrongly("%s: command %s holds %q, sent was %q", p.id, c.MessageID, c.Body, want)
	}
	p.given[c.MessageID]++
	if p.given[c.MessageID] == 1 && len(p.given)%4 == 0 && !p.finished {
		p.silent++
		return false
	}
	p.w.count(p.id + " commands")
	return true
}

func (p *pump) method(name string, payload []byte) (int, []byte, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.called[name+" "+string(payload)]++
	return 200, payload, true
}

// finish has the device send nothing new, and waits until all it sent is acknowledged.
func (p *pump) finish() error {
	p.mu.Lock()
	p.finished = true
	p.mu.Unlock()
	return p.w.until(func() error {
		p.mu.Lock()
		defer p.mu.Unlock()
		if len(p.flying) > 0 {
			return fmt.Errorf("%s: %d messages are not acknowledged", p.id, len(p.flying))
		}
		return nil
	})
}
