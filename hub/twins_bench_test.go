package hub_test

import (
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// BenchmarkTwinPatches has so many devices report at once, each waiting for the answer to one patch of its twin of 2 KB before it sends
// the next. ns/op is the time for one patch of all; the latencies are what a device sees.
func BenchmarkTwinPatches(b *testing.B) {
	for _, devices := range []int{1, 64, 1024} {
		b.Run(fmt.Sprintf("devices=%d", devices), func(b *testing.B) { benchmarkTwinPatches(b, hub.Config{Dir: b.TempDir()}, devices) })
	}
}

func benchmarkTwinPatches(b *testing.B, cfg hub.Config, devices int) {
	server, err := hub.New(b.Context(), cfg, &memory{}, slog.New(slog.DiscardHandler), clock.System{}, nil)
	if err != nil {
		b.Fatal(err)
	}
	defer server.Close()
	if err := server.SetHubs([]plan.Hub{one}); err != nil {
		b.Fatal(err)
	}
	h, _ := server.ByHost(host)
	first, err := h.FirstTwin([]byte(`{"tags":{"site":"b42"},"properties":{"reported":` + twoKilobytes() + `}}`))
	if err != nil {
		b.Fatal(err)
	}
	var changes []hub.Change
	for i := range devices {
		changes = append(changes, hub.Change{Device: hubstore.Device{ID: fmt.Sprintf("d%d", i)}, Twin: first})
	}
	made, err := h.ChangeDevices(b.Context(), changes)
	if err != nil {
		b.Fatal(err)
	}
	sessions := make([]*hub.Session, devices)
	for i, m := range made {
		token, err := sas.Sign(host+"/devices/"+m.Device.ID, m.Device.PrimaryKey, "", time.Now().Add(time.Hour))
		if err != nil {
			b.Fatal(err)
		}
		if sessions[i], err = h.Connect(b.Context(), hub.Request{Device: m.Device.ID, Token: token, Side: public, Door: "bench", Cut: func(hub.Cause) {}}); err != nil {
			b.Fatal(err)
		}
		defer sessions[i].End()
	}
	took := make([][]time.Duration, devices)
	var all sync.WaitGroup
	b.ReportAllocs()
	b.ResetTimer()
	for i, s := range sessions {
		n := b.N / devices
		if i < b.N%devices {
			n++
		}
		all.Go(func() {
			answered := make(chan error)
			for k := range n {
				from := time.Now()
				s.PatchReported(fmt.Appendf(nil, `{"sensor07":{"value":%d,"unit":"C"}}`, k), func(_ int64, err error) { answered <- err })
				if err := <-answered; err != nil {
					b.Error(err)
					return
				}
				took[i] = append(took[i], time.Since(from))
			}
		})
	}
	all.Wait()
	b.StopTimer()
	every := slices.Concat(took...)
	slices.Sort(every)
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "patches/s")
	b.ReportMetric(float64(every[len(every)/2].Microseconds())/1000, "p50-ms")
	b.ReportMetric(float64(every[len(every)*99/100].Microseconds())/1000, "p99-ms")
}

// twoKilobytes is what a device of middling talkativeness reports.
func twoKilobytes() string {
	var b strings.Builder
	for i := range 40 {
		fmt.Fprintf(&b, `,"sensor%02d":{"value":%d,"unit":"C","since":"2026-11-22"}`, i, i*1000)
	}
	return "{" + b.String()[1:] + "}"
}
