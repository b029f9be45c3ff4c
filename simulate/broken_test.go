package simulate_test

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/simulate/settings"
	"github.com/isthmus-io/isthmus/simulate/signin"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

func (s *stub) fleet(t *testing.T, clk clock.Clock, environ ...string) *simulate.Fleet {
	t.Helper()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, s.caPEM, 0o600); err != nil {
		t.Fatal(err)
	}
	set, err := settings.Read(settings.Input{Environ: append([]string{
		"ISTHMUS_SIMULATE_HOST_NAME=" + stubHost, "ISTHMUS_SIMULATE_GROUP_KEY=Z3JvdXAta2V5LWdyb3VwLWtleS1ncm91cC1rZXk=", "ISTHMUS_SIMULATE_ADDRESS=" + s.address, "ISTHMUS_SIMULATE_CA=" + ca,
		"Template=$.Counter", "Interval=1",
	}, environ...)})
	if err != nil {
		t.Fatal(err)
	}
	method, err := signin.New(set, nil, clk)
	if err != nil {
		t.Fatal(err)
	}
	f, err := simulate.NewFleet(set, method, nil, slog.New(slog.DiscardHandler), clk)
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// runs drives a fleet's fake clock until it is done.
func runs(t *testing.T, f *simulate.Fleet, fake *clock.Fake, step time.Duration, until func(simulate.Snapshot) bool) *simulate.Result {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	done := make(chan *simulate.Result, 1)
	go func() {
		r, err := f.Run(ctx)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	for {
		select {
		case r := <-done:
			return r
		case <-time.After(200 * time.Microsecond):
			fake.Advance(step)
		}
		if until != nil && until(f.Counts()) { // which may keep time from passing
			cancel()
			until = nil
		}
	}
}

func TestWhatWasNotAcknowledgedIsSentAgain(t *testing.T) {
	s := newStub(t)
	var dups atomic.Int32
	s.answer = func(connection, message int, p *mqtt.Publish) (bool, bool) {
		if p.Dup {
			dups.Add(1)
		}
		return connection != 1 || message != 3, connection != 1 || message != 3 // the third message's acknowledgement is cut off
	}
	s.start(t)
	r, err := s.fleet(t, clock.System{}, "MessageCount=5").Run(t.Context())
	if err != nil || !r.OK() || r.Messages.Resent != 1 || r.Messages.Acknowledged != 5 || r.Connections.CutOff != 1 || r.Connections.Reconnect.Count != 1 {
		t.Fatalf("%v %s", err, show(r))
	}
	if got := strings.Join(s.seen, " "); got != "1 2 3 3 4 5" || dups.Load() != 1 {
		t.Errorf("the hub saw %s, %d marked as repeated", got, dups.Load())
	}
}

func TestAHubThatSaysNothingIsLeft(t *testing.T) {
	s := newStub(t)
	s.answer = func(connection, _ int, _ *mqtt.Publish) (bool, bool) { return connection > 1, true }
	s.start(t)
	fake := clock.NewFake(time.Now())
	r := runs(t, s.fleet(t, fake, "MessageCount=2"), fake, time.Second, nil)
	if !r.OK() || r.Messages.Resent != 1 || r.Connections.CutOff != 1 || !slices.ContainsFunc(r.Troubles, func(x simulate.Trouble) bool { return strings.Contains(x.What, "not acknowledged in time") }) {
		t.Errorf("%s", show(r))
	}
}

func TestTokensAreRenewedAndSilenceIsFilled(t *testing.T) {
	s := newStub(t).start(t)
	fake := clock.NewFake(time.Now())
	f := s.fleet(t, fake, "DeviceCount=3", "MessageCount=0", "Interval=2000000", "ISTHMUS_SIMULATE_TOKEN_LIFE=30m")
	r := runs(t, f, fake, 2*time.Second, func(n simulate.Snapshot) bool { return n.Renewed >= 6 && n.Acknowledged >= 3 })
	if !r.OK() || r.Connections.Renewed < 6 || r.Connections.CutOff != 0 || r.Connections.Failed != 0 {
		t.Errorf("%s", show(r))
	}
	if s.pings.Load() < 10 {
		t.Errorf("%d pings", s.pings.Load())
	}
}

func TestAHubThatComesBack(t *testing.T) {
	s := newStub(t)
	s.code = mqtt.ServerUnavailable
	var refused atomic.Int32
	s.answer = func(int, int, *mqtt.Publish) (bool, bool) { return true, true }
	s.start(t)
	fake := clock.NewFake(time.Now())
	f := s.fleet(t, fake, "DeviceCount=2", "MessageCount=2", "ISTHMUS_SIMULATE_GIVE_UP=0")
	r := runs(t, f, fake, 100*time.Millisecond, func(n simulate.Snapshot) bool {
		if n.FailedConnects > 6 && refused.CompareAndSwap(0, 1) {
			s.accept()
		}
		return false
	})
	if !r.OK() || r.Connections.Failed < 7 || r.Messages.Acknowledged != 4 || !strings.Contains(r.Troubles[0].What, "cannot serve the device now") {
		t.Errorf("%s", show(r))
	}
}

func TestBodiesThatAreTooLargeEndTheirDevice(t *testing.T) {
	s := newStub(t).start(t)
	f := s.fleet(t, clock.System{}, "MessageCount=5", `Variables=[{"name": "Pad", "customLengthString": 200000}]`, "Template=$.Pad$.Pad")
	r, err := f.Run(t.Context())
	if err != nil || r.OK() || r.Devices.GaveUp != 1 || r.Messages.Sent != 0 || !strings.Contains(r.Troubles[0].What, "Template: a body became 400000 bytes long") {
		t.Errorf("%v %s", err, show(r))
	}
}

func TestFleetOverWebSocket(t *testing.T) {
	s := newStub(t).startWebSocket(t, "mqtt")
	f := s.fleet(t, clock.System{}, "DeviceCount=50", "MessageCount=20", "ISTHMUS_SIMULATE_PROTOCOL=mqtt-ws", "ISTHMUS_SIMULATE_STORM=every=100ms,share=0.5", "Interval=20")
	r, err := f.Run(t.Context())
	if err != nil || !r.OK() || r.Messages.Acknowledged != 1000 || r.Connections.Stormed == 0 || r.Protocol != "mqtt-ws" {
		t.Errorf("%v %s", err, show(r))
	}
}

func TestIntervalsTakeTurns(t *testing.T) {
	s := newStub(t)
	var mu sync.Mutex
	var at []time.Duration
	begin := time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC)
	fake := clock.NewFake(begin)
	s.answer = func(int, int, *mqtt.Publish) (bool, bool) {
		mu.Lock()
		defer mu.Unlock()
		at = append(at, fake.Now().Sub(begin))
		return true, true
	}
	s.start(t)
	f := s.fleet(t, fake, "MessageCount=7", "Intervals=1000,5000,200")
	pauses := []time.Duration{time.Second, 5 * time.Second, 200 * time.Millisecond, time.Second, 5 * time.Second, 200 * time.Millisecond}
	// The clock waits for a message that is due, however slow the machine.
	r := runs(t, f, fake, 10*time.Millisecond, func(simulate.Snapshot) bool {
		came := func() (n int, overdue bool) {
			mu.Lock()
			defer mu.Unlock()
			n = len(at)
			return n, n > 0 && n <= len(pauses) && fake.Now().Sub(begin) > at[n-1]+pauses[n-1]+100*time.Millisecond
		}
		before, overdue := came()
		for end := time.Now().Add(10 * time.Second); overdue && time.Now().Before(end); {
			<-time.After(200 * time.Microsecond)
			if n, _ := came(); n > before {
				break
			}
		}
		return false
	})
	if !r.OK() {
		t.Fatalf("%s", show(r))
	}
	for i, want := range pauses {
		if pause := at[i+1] - at[i]; pause < want-150*time.Millisecond || pause > want+150*time.Millisecond {
			t.Errorf("pause %d is %v, want %v: %s", i, pause, want, fmt.Sprint(at))
		}
	}
}
