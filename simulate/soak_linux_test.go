package simulate_test

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"runtime"
	"runtime/debug"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/simulate"
	"github.com/isthmus-io/isthmus/simulate/settings"
	"github.com/isthmus-io/isthmus/simulate/signin"
)

// stubFleet returns a fleet for a stub, which takes every key.
func stubFleet(t testing.TB, address, ca string, environ ...string) *simulate.Fleet {
	t.Helper()
	s, err := settings.Read(settings.Input{Environ: append([]string{
		"ISTHMUS_SIMULATE_HOST_NAME=" + stubHost, "ISTHMUS_SIMULATE_GROUP_KEY=Z3JvdXAta2V5LWdyb3VwLWtleS1ncm91cC1rZXk=", "ISTHMUS_SIMULATE_ADDRESS=" + address, "ISTHMUS_SIMULATE_CA=" + ca,
	}, environ...)})
	if err != nil {
		t.Fatal(err)
	}
	method, err := signin.New(s, nil, clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	f, err := simulate.NewFleet(s, method, nil, slog.New(slog.DiscardHandler), clock.System{})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// resident is the memory of this process, in bytes.
func resident(t testing.TB) int64 {
	t.Helper()
	debug.FreeOSMemory()
	b, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	_, after, _ := bytes.Cut(b, []byte("VmRSS:"))
	kb, err := strconv.ParseInt(string(bytes.Fields(after)[0]), 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

func cpu() time.Duration {
	var u syscall.Rusage
	_ = syscall.Getrusage(syscall.RUSAGE_SELF, &u)
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// TestSoak drives 20,000 devices, or as many as this process may open files for, against a stub in another process: it connects them all,
// measures what they cost at rest, has them send, cuts half of them at once, and loses nothing. A quarter of them do the same over WebSocket, AMQP and HTTPS.
func TestSoak(t *testing.T) {
	if os.Getenv("ISTHMUS_SOAK") == "" {
		t.Skip("it takes minutes: set ISTHMUS_SOAK=1")
	}
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil {
		t.Fatal(err)
	}
	n := min(20_000, int(l.Max)-64)
	t.Run("mqtt", func(t *testing.T) { soak(t, n, "mqtt", 24<<10) })
	t.Run("mqtt-ws", func(t *testing.T) { soak(t, n/4, "mqtt-ws", 96<<10) })
	t.Run("amqp", func(t *testing.T) { soak(t, n/4, "amqp", 32<<10) })
	t.Run("https", func(t *testing.T) { soak(t, n/4, "https", 32<<10) })
}

// soak allows a device so many bytes at rest.
func soak(t *testing.T, n int, protocol string, most int) {
	address, ca := otherProcess(t, protocol)
	before := resident(t)
	f := stubFleet(t, address, ca, fmt.Sprint("DeviceCount=", n), "MessageCount=3", "Interval=30000", "ISTHMUS_SIMULATE_STORM=every=50s,share=0.5", "ISTHMUS_SIMULATE_CONNECTING=64",
		"ISTHMUS_SIMULATE_PROTOCOL="+protocol)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	done := make(chan *simulate.Result, 1)
	began, spent := time.Now(), cpu()
	go func() {
		r, err := f.Run(ctx)
		if err != nil {
			t.Error(err)
		}
		done <- r
	}()
	for f.Counts().Online < int64(n) && ctx.Err() == nil {
		<-time.After(10 * time.Millisecond)
	}
	took := time.Since(began)
	t.Logf("%d devices online after %.1f s: %.0f a second, %.2f ms of processor time each", n, took.Seconds(), float64(n)/took.Seconds(), (cpu()-spent).Seconds()*1000/float64(n))
	rest := resident(t)
	each := float64(rest-before) / float64(n)
	t.Logf("at rest: %.1f kB resident each, %d goroutines", each/1000, runtime.NumGoroutine())
	r := <-done
	if r == nil || !r.OK() || r.Devices.Finished != int64(n) || r.Messages.Acknowledged != 3*int64(n) || r.Connections.Stormed == 0 {
		t.Fatalf("%s", show(r))
	}
	t.Logf("%s", show(r))
	if each > float64(most) {
		t.Errorf("%.0f bytes each at rest", each)
	}
}

// BenchmarkFleet sends as fast as acknowledgements come, with 200 devices.
func BenchmarkFleet(b *testing.B) {
	for _, x := range []struct {
		protocol string
		size     int
	}{{"mqtt", 100}, {"mqtt", 1000}, {"amqp", 100}, {"amqp", 1000}, {"https", 100}, {"https", 1000}} {
		b.Run(fmt.Sprint(x.protocol, ", ", x.size, " bytes"), func(b *testing.B) {
			address, ca := otherProcess(b, x.protocol)
			each := max(b.N/200, 1)
			f := stubFleet(b, address, ca, "DeviceCount=200", fmt.Sprint("MessageCount=", each), "Interval=1", fmt.Sprint("FixPayloadSize=", x.size), "ISTHMUS_SIMULATE_PROTOCOL="+x.protocol)
			spent := cpu()
			b.ResetTimer()
			r, err := f.Run(b.Context())
			if err != nil || !r.OK() {
				b.Fatalf("%v %s", err, show(r))
			}
			b.ReportMetric(r.Messages.PerSecond, "messages/s")
			b.ReportMetric(float64((cpu()-spent).Microseconds())/float64(r.Messages.Acknowledged), "cpu-us/message")
			b.ReportMetric(r.Messages.Acknowledge.P99, "p99-ms")
		})
	}
}
