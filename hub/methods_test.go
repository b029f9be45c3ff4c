package hub_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
)

var (
	device = hub.Name{Device: "d"}
	module = hub.Name{Device: "d", Module: "m"}
)

// called is a method call on its way.
type called struct {
	hub.MethodResponse
	err error
}

func (w *world) invoke(ctx context.Context, n hub.Name, r hub.MethodRequest) <-chan called {
	out := make(chan called, 1)
	go func() {
		a, err := w.hub().InvokeMethod(ctx, n, r)
		out <- called{a, err}
	}()
	return out
}

func TestAMethodIsAnswered(t *testing.T) {
	for _, n := range []hub.Name{device, module} {
		for _, c := range []struct{ give, answer, want string }{
			{`{"a":[1]}`, `{"b":null}`, `{"b":null}`},
			{"", "", ""},
			{"null", " \n", ""},
			{"1", "null", "null"},
			{`"x"`, "not JSON <>", `"not JSON \u003c\u003e"`},
		} {
			w := newWorld(t)
			p := w.play(n, hub.Methods)
			var payload json.RawMessage
			if c.give != "" {
				payload = json.RawMessage(c.give)
			}
			got := w.invoke(t.Context(), n, hub.MethodRequest{Name: "Reboot now", Payload: payload})
			call := <-p.calls
			if call.Name != "Reboot now" || string(call.Payload) != c.give || (call.Payload == nil) != (c.give == "") || call.ID == "" || strings.Trim(call.ID, "0123456789abcdef") != "" || len(call.ID) > 8 {
				t.Errorf("the device was given %+v", call)
			}
			answer := []byte(c.answer)
			p.AnswerMethod(call.ID, -7, answer)
			for i := range answer { // it belongs to the door again
				answer[i] = '!'
			}
			if a := <-got; a.err != nil || a.Status != -7 || string(a.Payload) != c.want || (a.Payload == nil) != (c.want == "") {
				t.Errorf("%s: answered with %d %s, %v", c.answer, a.Status, a.Payload, a.err)
			}
			p.End()
		}
	}
}

func TestMethodsNobodyCanRun(t *testing.T) {
	w := newWorld(t)
	w.identity(module)
	p := w.play(hub.Name{Device: "deaf"}, hub.Commands)
	defer p.End()
	long := json.RawMessage(`"` + strings.Repeat("x", hub.MaxMethodPayload) + `"`)
	for _, c := range []struct {
		name string
		to   hub.Name
		r    hub.MethodRequest
		want code.Code
	}{
		{"offline", device, hub.MethodRequest{Name: "m"}, code.DeviceNotOnline},
		{"module offline", module, hub.MethodRequest{Name: "m"}, code.DeviceNotOnline},
		{"it does not listen", hub.Name{Device: "deaf"}, hub.MethodRequest{Name: "m"}, code.DeviceNotOnline},
		{"no such device", hub.Name{Device: "nobody"}, hub.MethodRequest{Name: "m", Connect: time.Second}, code.DeviceNotFound},
		{"no such module", hub.Name{Device: "d", Module: "nobody"}, hub.MethodRequest{Name: "m"}, code.ModuleNotFound},
		{"no name", device, hub.MethodRequest{}, code.ArgumentInvalid},
		{"a name with a slash", device, hub.MethodRequest{Name: "a/b"}, code.ArgumentInvalid},
		{"a name of a subscription", device, hub.MethodRequest{Name: "#"}, code.ArgumentInvalid},
		{"a name with a zero", device, hub.MethodRequest{Name: "a\x00"}, code.ArgumentInvalid},
		{"a name that is no text", device, hub.MethodRequest{Name: "\xff"}, code.ArgumentInvalid},
		{"a long name", device, hub.MethodRequest{Name: strings.Repeat("x", 129)}, code.ArgumentInvalid},
		{"no JSON", device, hub.MethodRequest{Name: "m", Payload: json.RawMessage("{")}, code.ArgumentInvalid},
		{"empty JSON", device, hub.MethodRequest{Name: "m", Payload: json.RawMessage{}}, code.ArgumentInvalid},
		{"too large", device, hub.MethodRequest{Name: "m", Payload: long}, code.MessageTooLarge},
		{"too little time", device, hub.MethodRequest{Name: "m", Response: 4 * time.Second}, code.ArgumentInvalid},
		{"too much time", device, hub.MethodRequest{Name: "m", Response: 301 * time.Second}, code.ArgumentInvalid},
		{"too much patience", device, hub.MethodRequest{Name: "m", Connect: 301 * time.Second}, code.ArgumentInvalid},
		{"negative patience", device, hub.MethodRequest{Name: "m", Connect: -1}, code.ArgumentInvalid},
	} {
		_, err := w.hub().InvokeMethod(t.Context(), c.to, c.r)
		if err == nil || code.Of(err) != c.want || fault.Next(err) == "" && c.want == code.DeviceNotOnline {
			t.Errorf("%s: %v, want %s", c.name, err, c.want.Name)
		}
	}
	if n := w.hub().MethodsWaiting(); n != 0 {
		t.Errorf("%d calls wait", n)
	}
}

func TestAMethodWaitsForItsDevice(t *testing.T) {
	w := newWorld(t)
	w.identity(device)
	r := hub.MethodRequest{Name: "m", Connect: 20 * time.Second, Response: 5 * time.Second}
	wait := func() <-chan called {
		got := w.invoke(t.Context(), device, r)
		until(t, "the call waits", func() bool { return w.clock.Timers() == 1 })
		return got
	}
	t.Run("in vain", func(t *testing.T) {
		got := wait()
		w.clock.Advance(r.Connect)
		if a := <-got; code.Of(a.err) != code.DeviceNotOnline || fault.KindOf(a.err) != fault.NotFound {
			t.Error(a.err)
		}
	})
	t.Run("which comes", func(t *testing.T) {
		got := wait()
		w.clock.Advance(r.Connect - 1)
		p := w.play(device, 0)
		defer p.End()
		p.Listen(hub.Commands, true) // not what is waited for
		p.Listen(hub.Methods, true)
		call := <-p.calls
		until(t, "the call waits for its answer", func() bool { return w.clock.Timers() == 2 })
		w.clock.Advance(r.Response - 1)
		p.AnswerMethod(call.ID, 1, nil)
		if a := <-got; a.err != nil || a.Status != 1 {
			t.Error(a)
		}
	})
	t.Run("and nobody waits for the call", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		got := w.invoke(ctx, device, r)
		until(t, "the call waits", func() bool { return w.clock.Timers() == 1 })
		cancel()
		if a := <-got; fault.KindOf(a.err) != fault.Timeout {
			t.Error(a.err)
		}
	})
	if n := w.hub().MethodsWaiting(); n != 0 || w.clock.Timers() != 0 {
		t.Errorf("%d calls wait, %d timers", n, w.clock.Timers())
	}
}

func TestASilentDevice(t *testing.T) {
	w := newWorld(t)
	p := w.play(device, hub.Methods)
	got := w.invoke(t.Context(), device, hub.MethodRequest{Name: "m"})
	call := <-p.calls
	until(t, "the call waits", func() bool { return w.clock.Timers() == 1 })
	w.clock.Advance(30 * time.Second)
	if a := <-got; code.Of(a.err) != code.DeviceDidNotAnswer || fault.KindOf(a.err) != fault.Timeout {
		t.Error(a.err)
	}
	p.AnswerMethod(call.ID, 200, nil) // too late

	ctx, cancel := context.WithCancel(t.Context())
	got = w.invoke(ctx, device, hub.MethodRequest{Name: "m"})
	<-p.calls
	cancel()
	if a := <-got; fault.KindOf(a.err) != fault.Timeout {
		t.Error(a.err)
	}

	got = w.invoke(t.Context(), device, hub.MethodRequest{Name: "m"})
	call = <-p.calls
	p.AnswerMethod(call.ID, 200, []byte(strings.Repeat(" ", hub.MaxMethodPayload+1)))
	if a := <-got; fault.KindOf(a.err) != fault.TooLarge {
		t.Error(a.err)
	}
	p.End()
}

func TestASessionThatEndsEndsItsCalls(t *testing.T) {
	for _, c := range []struct {
		name string
		end  func(w *world, p *player) *player
	}{
		{"it goes", func(_ *world, p *player) *player { p.End(); return p }},
		{"it is taken over", func(w *world, _ *player) *player { return w.play(device, hub.Methods) }},
		{"it is deleted", func(w *world, p *player) *player {
			if err := w.hub().DeleteDevice(t.Context(), "d", hub.AnyETag); err != nil {
				t.Error(err)
			}
			return p
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWorld(t)
			p := w.play(device, hub.Methods)
			got := w.invoke(t.Context(), device, hub.MethodRequest{Name: "m", Connect: time.Minute})
			<-p.calls
			now := c.end(w, p)
			if a := <-got; code.Of(a.err) != code.ConnectionClosed || fault.KindOf(a.err) != fault.Unavailable {
				t.Error(a.err)
			}
			p.End()
			now.End()
		})
	}
}

func TestAnswersThatNobodyWaitsForAreDropped(t *testing.T) {
	w, registry := &world{t: t, log: &memory{}, clock: clock.NewFake(start), dir: t.TempDir()}, prometheus.NewRegistry()
	w.reg = registry
	w.open()
	p, other := w.play(device, hub.Methods), w.play(hub.Name{Device: "e"}, hub.Methods)
	defer p.End()
	defer other.End()
	got := w.invoke(t.Context(), device, hub.MethodRequest{Name: "m"})
	call := <-p.calls
	other.AnswerMethod(call.ID, 1, nil)
	p.AnswerMethod("", 2, nil)
	p.AnswerMethod(strings.ToUpper(call.ID)+"0", 3, nil)
	p.AnswerMethod(call.ID, 200, nil)
	p.AnswerMethod(call.ID, 4, nil)
	if a := <-got; a.err != nil || a.Status != 200 {
		t.Errorf("%+v", a)
	}
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := map[string]float64{}
	for _, f := range families {
		if m := f.GetMetric()[0]; m.GetCounter() != nil {
			counted[f.GetName()] = m.GetCounter().GetValue()
		}
	}
	if counted["isthmus_hub_method_answers_dropped_total"] != 4 || counted["isthmus_hub_method_calls_total"] != 1 {
		t.Errorf("counted %v", counted)
	}
}

func TestCallsThatWaitAreBounded(t *testing.T) {
	w := newWorld(t)
	w.identity(device)
	ctx, cancel := context.WithCancel(t.Context())
	r := hub.MethodRequest{Name: "m", Connect: time.Minute}
	var answers []<-chan called
	for range 64 {
		answers = append(answers, w.invoke(ctx, device, r))
	}
	until(t, "they wait", func() bool { return w.hub().MethodsWaiting() == 64 })
	if a := <-w.invoke(ctx, device, r); code.Of(a.err) != code.Throttled || fault.KindOf(a.err) != fault.Exhausted {
		t.Errorf("one more of the same device: %v", a.err)
	}
	if a := <-w.invoke(ctx, hub.Name{Device: "x"}, r); code.Of(a.err) != code.DeviceNotFound {
		t.Errorf("one of another: %v", a.err)
	}
	cancel()
	for _, a := range answers {
		<-a
	}
	if n := w.hub().MethodsWaiting(); n != 0 {
		t.Errorf("%d calls wait", n)
	}
}

// What waits for a device stays within what its door holds for it, whatever number of callers there is.
func TestPayloadsThatWaitAreBounded(t *testing.T) {
	w := newWorld(t)
	p := w.play(device, hub.Methods)
	ctx, cancel := context.WithCancel(t.Context())
	r := hub.MethodRequest{Name: "m", Payload: []byte(`"` + strings.Repeat("x", 100<<10) + `"`)}
	var answers []<-chan called
	for range 3 {
		answers = append(answers, w.invoke(ctx, device, r))
		<-p.calls
	}
	if a := <-w.invoke(ctx, device, r); code.Of(a.err) != code.Throttled || !strings.Contains(fault.Message(a.err), "bytes of payload") {
		t.Errorf("a fourth: %v", a.err)
	}
	cancel()
	for _, a := range answers {
		<-a
	}
	got := w.invoke(t.Context(), device, r)
	p.AnswerMethod((<-p.calls).ID, 200, nil)
	if a := <-got; a.err != nil {
		t.Errorf("when they are gone: %v", a.err)
	}
}

func TestManyCallManyDevices(t *testing.T) {
	w := newWorld(t)
	w.unlimited()
	const devices, callers, each = 4, 8, 40
	stop := make(chan struct{})
	var playing, calling sync.WaitGroup
	for i := range devices {
		n := hub.Name{Device: fmt.Sprint("d", i)}
		w.identity(n)
		playing.Go(func() { // it comes and goes, and answers with what it was asked
			for {
				p := w.play(n, hub.Methods)
				for range 2 {
					select {
					case c := <-p.calls:
						p.AnswerMethod(c.ID, 200, c.Payload)
					case <-stop:
						p.End()
						return
					}
				}
				p.End()
			}
		})
	}
	var answered atomic.Int64
	for c := range callers {
		calling.Go(func() {
			for i := range each {
				payload := json.RawMessage(fmt.Sprintf("[%d,%d]", c, i))
				a, err := w.hub().InvokeMethod(t.Context(), hub.Name{Device: fmt.Sprint("d", i%devices)}, hub.MethodRequest{Name: "m", Payload: payload, Connect: time.Minute})
				switch {
				case err == nil && string(a.Payload) == string(payload):
					answered.Add(1)
				case err == nil || code.Of(err) != code.ConnectionClosed:
					t.Errorf("%s, %v", a.Payload, err)
				}
			}
		})
	}
	calling.Wait()
	close(stop)
	playing.Wait()
	if answered.Load() == 0 || w.hub().MethodsWaiting() != 0 || w.clock.Timers() != 0 {
		t.Errorf("%d answered, %d wait, %d timers", answered.Load(), w.hub().MethodsWaiting(), w.clock.Timers())
	}
}

// echo answers every call on the goroutine that makes it.
type echo struct{ s *hub.Session }

func (e *echo) DesiredChanged(int64, json.RawMessage) {}
func (e *echo) CommandsWaiting()                      {}
func (e *echo) MethodCalled(c hub.MethodCall)         { e.s.AnswerMethod(c.ID, 200, c.Payload) }

func BenchmarkMethodCalls(b *testing.B) {
	h := benchHub(b, hub.Config{Dir: b.TempDir()})
	var names []hub.Name
	for i := range 64 {
		e, n := &echo{}, hub.Name{Device: fmt.Sprint("d", i)}
		e.s = benchConnect(b, h, n.Device, e)
		e.s.Listen(hub.Methods, true)
		names = append(names, n)
	}
	var next atomic.Int64
	b.ReportAllocs()
	b.SetParallelism(16)
	b.ResetTimer()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			n := names[int(next.Add(1))%len(names)]
			if _, err := h.InvokeMethod(b.Context(), n, hub.MethodRequest{Name: "m", Payload: json.RawMessage(`{"a":1}`)}); err != nil {
				b.Error(err)
				return
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "calls/s")
}
