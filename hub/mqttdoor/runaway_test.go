package mqttdoor_test

import (
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/hubtest"
	"github.com/isthmus-io/isthmus/wire/mqtt"
)

// A device sends as fast as its socket takes it. Another sends fifty messages a second, first alone and then beside it: it gets through as
// many as before, each answered about as soon, while the runaway gets what one device is allowed.
func TestARunawayDoesNotSlowItsNeighbour(t *testing.T) {
	w := hubtest.Start(t, hubtest.Options{})
	h := w.Hub(hubtest.Contoso)
	const rate, burst = 1000, 500
	if _, err := h.SetLimits(t.Context(), []byte(`{"device":{"messages":{"perSecond":1000,"burst":500}},"hub":{"messages":{"perSecond":3000,"burst":3000}}}`), "test"); err != nil {
		t.Fatal(err)
	}
	calm, _ := device(t, w, "calm")
	runaway, _ := device(t, w, "runaway")
	measure := func() (median time.Duration) {
		const messages = 75
		took := make([]time.Duration, messages)
		tick := time.NewTicker(20 * time.Millisecond)
		defer tick.Stop()
		for i := range took {
			<-tick.C
			begin := time.Now()
			calm.send(publish("calm", "", "x", uint16(i+1)))
			if ack, ok := calm.next().(mqtt.Ack); !ok || ack.ID != uint16(i+1) {
				t.Fatalf("message %d is answered with %+v", i, ack)
			}
			took[i] = time.Since(begin)
		}
		slices.Sort(took)
		return took[messages/2]
	}
	alone := measure()

	var acks atomic.Int64
	var all sync.WaitGroup
	stop := make(chan struct{})
	all.Go(func() {
		one, err := publish("runaway", "", "x", 1).Append(nil)
		if err != nil {
			t.Error(err)
			return
		}
		many := slices.Concat(slices.Repeat([][]byte{one}, 64)...)
		for {
			if _, err := runaway.Write(many); err != nil { // it waits here while the hub does not read
				return
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	all.Go(func() {
		for {
			if _, _, err := runaway.reader.Next(); err != nil {
				return
			}
			acks.Add(1)
		}
	})
	begin := time.Now()
	beside := measure()
	ran := time.Since(begin).Seconds()
	got := float64(acks.Load())
	close(stop)
	_ = runaway.Close()
	all.Wait()

	ratio := beside.Seconds() / alone.Seconds()
	t.Logf("a calm message is answered in %v alone and in %v beside a runaway: %.1f times; the runaway had %.0f messages a second", alone, beside, ratio, got/ran)
	if ratio > 10 && beside > 20*time.Millisecond {
		t.Errorf("it takes %.1f times as long beside a runaway", ratio)
	}
	if allowed := rate*ran + burst; got > allowed*1.1 || got < allowed/3 {
		t.Errorf("the runaway had %.0f messages, %.0f are allowed", got, allowed)
	}
	x, err := h.Why(t.Context(), hub.Name{Device: "runaway"})
	if err != nil || len(x.Throttling) != 1 || x.Throttling[0].Level != "device" {
		t.Errorf("why: %+v, %v", x.Throttling, err)
	}
	if x, err := h.Why(t.Context(), hub.Name{Device: "calm"}); err != nil || len(x.Throttling) > 0 {
		t.Errorf("why the calm one: %+v, %v", x.Throttling, err)
	}
}
