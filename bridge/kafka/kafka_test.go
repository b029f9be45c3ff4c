package kafka_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/end"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/kafka"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/plan"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	host    = "kafka.contoso"
	topic   = "telemetry"
	produce = 0 // keys of requests

	authenticate = 36
)

// world is a cluster of two brokers and the end that leads to it.
type world struct {
	*kfake.Cluster
	t   testing.TB
	end *end.End

	mu    sync.Mutex // guards the fields below
	conns []net.Conn
	away  bool
}

func newWorld(t testing.TB, opts ...kfake.Opt) *world {
	t.Helper()
	c, err := kfake.NewCluster(append([]kfake.Opt{kfake.NumBrokers(2), kfake.SeedTopics(3, topic)}, opts...)...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	w := &world{Cluster: c, t: t}
	e := &end.End{BridgeEnd: plan.BridgeEnd{Name: "ot/ot-cloud/lake", Open: true, HostName: host}}
	for _, a := range c.ListenAddrs() {
		_, port, _ := net.SplitHostPort(a)
		n, _ := strconv.ParseUint(port, 10, 16)
		e.Ports = append(e.Ports, uint16(n))
	}
	e.Connect = func(ctx context.Context, port uint16) (net.Conn, error) {
		w.mu.Lock()
		defer w.mu.Unlock()
		if w.away {
			return nil, fault.New("link.Dial", fault.Unavailable, "no gateway of it-cloud is connected")
		}
		c, err := new(net.Dialer).DialContext(ctx, "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(int(port))))
		if err == nil {
			w.conns = append(w.conns, c)
		}
		return c, err
	}
	w.end = e
	return w
}

// cut breaks all connections, and lets nobody in while away is set.
func (w *world) cut(away bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.away = away
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

func (w *world) open(spec resource.KafkaDestination) bridge.Destination {
	w.t.Helper()
	if spec.Topic == "" {
		spec.Topic = topic
	}
	d, err := kafka.New(bridge.DestinationArgs{Bridge: "b1", Name: "ot/plant/telemetry", End: w.end, Destination: resource.BridgeDestination{Kafka: &spec}})
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { _ = d.Close() })
	return d
}

// records reads the topic: all n of it, each partition in order.
func (w *world) records(n int, opts ...kgo.Opt) []*kgo.Record {
	w.t.Helper()
	c, err := kgo.NewClient(append([]kgo.Opt{kgo.SeedBrokers(w.ListenAddrs()...), kgo.ConsumeTopics(topic), kgo.FetchMaxWait(50 * time.Millisecond)}, opts...)...)
	if err != nil {
		w.t.Fatal(err)
	}
	defer c.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	var out []*kgo.Record
	for len(out) < n && ctx.Err() == nil {
		out = append(out, c.PollFetches(ctx).Records()...)
	}
	if len(out) != n {
		w.t.Fatalf("the topic has %d records, not %d", len(out), n)
	}
	return out
}

// count is how many records the topic has.
func (w *world) count() (n int) {
	for _, p := range w.PartitionInfos(topic) {
		n += int(p.HighWatermark)
	}
	return n
}

var at = time.Date(2026, 11, 20, 9, 0, 0, 0, time.UTC)

func made(seq int, device, body string) *event.Event {
	e := &event.Event{Origin: event.Origin{Partition: "0", Sequence: int64(seq), Enqueued: at}, Body: []byte(body)}
	if device != "" {
		e.System = []event.Property{{Name: event.DeviceID, Value: device}}
	}
	return e
}

func TestAnEventBecomesARecord(t *testing.T) {
	w := newWorld(t)
	d := w.open(resource.KafkaDestination{})
	e := made(7, "press-7", `{"temperature":21.5}`)
	e.Properties = []event.Property{
		{Name: "line", Value: int64(3)}, {Name: "raw", Value: []byte{0, 1}}, {Name: "since", Value: at}, {Name: "line", Value: "again"}, {Name: "none"},
		{Name: event.OriginProperty, Value: "another/0/1"}, {Name: event.DeviceID, Value: "somebody else"},
	}
	e.Repeat = true
	if err := d.Write(t.Context(), "0", []*event.Event{e}); err != nil {
		t.Fatal(err)
	}
	r := w.records(1)[0]
	if string(r.Key) != "press-7" || string(r.Value) != string(e.Body) || !r.Timestamp.Equal(at) {
		t.Errorf("%s %s %v", r.Key, r.Value, r.Timestamp)
	}
	var got []string
	for _, h := range r.Headers {
		got = append(got, h.Key+"="+string(h.Value))
	}
	want := []string{"iothub-connection-device-id=press-7", "line=3", "raw=\x00\x01", "since=2026-11-20T09:00:00Z", "none=", "isthmus-origin=b1/0/7", "isthmus-repeat=true"}
	if !slices.Equal(got, want) {
		t.Errorf("headers\n got %q\nwant %q", got, want)
	}
}

func TestKeys(t *testing.T) {
	w := newWorld(t)
	byLine := w.open(resource.KafkaDestination{Key: `this.line`})
	if err := byLine.Write(t.Context(), "0", []*event.Event{made(0, "d", `{"line":"a"}`), made(1, "d", `{"line":7}`), made(2, "d", `{}`)}); err != nil {
		t.Fatal(err)
	}
	got := map[string]int{}
	for _, r := range w.records(3) {
		got[string(r.Key)]++
	}
	if got["a"] != 1 || got["7"] != 1 || got[""] != 1 {
		t.Errorf("keys %v", got)
	}
	err := w.open(resource.KafkaDestination{Key: `this.line.uppercase()`}).Write(t.Context(), "0", []*event.Event{made(0, "d", `{"line":{"secret":"x"}}`)})
	r, ok := errors.AsType[*event.Refused](err)
	if !ok || r.At[0] == nil || strings.Contains(fault.Message(r.At[0]), "secret") {
		t.Errorf("%v", err)
	}
}

// The partition is the one that any client of Kafka chooses for the key.
func TestPartitions(t *testing.T) {
	w := newWorld(t)
	d := w.open(resource.KafkaDestination{})
	want := map[string]int32{} // as Kafka's Java client computes: Utils.toPositive(Utils.murmur2(key)) % 3
	for key, p := range map[string]int32{"21": int32((-973932308 & 0x7fffffff) % 3), "foobar": int32((-790332482 & 0x7fffffff) % 3), "a-little-bit-long-string": int32((-985981536 & 0x7fffffff) % 3)} {
		want[key] = p
	}
	var batch []*event.Event
	for key := range want {
		batch = append(batch, made(len(batch), key, "x"))
	}
	for range 5 {
		batch = append(batch, made(len(batch), "", "keyless"))
	}
	if err := d.Write(t.Context(), "2", batch); err != nil {
		t.Fatal(err)
	}
	for _, r := range w.records(len(batch)) {
		if p, ok := want[string(r.Key)]; ok && p != r.Partition || r.Key == nil && r.Partition != 2 {
			t.Errorf("%q is in partition %d", r.Key, r.Partition)
		}
	}
}

func TestOneRecordThatIsRefusedSpoilsNothing(t *testing.T) {
	w := newWorld(t)
	if err := w.CreateTopic("narrow", 1, map[string]string{"max.message.bytes": "3000"}); err != nil {
		t.Fatal(err)
	}
	d := w.open(resource.KafkaDestination{Topic: "narrow"})
	var batch []*event.Event
	for i := range 40 {
		body := fmt.Sprintf("%04d", i)
		if i == 13 || i == 39 {
			raw := make([]byte, 5000) // which no compression makes small
			_, _ = rand.Read(raw)
			body = string(raw)
		}
		batch = append(batch, made(i, "d", body))
	}
	r, ok := errors.AsType[*event.Refused](d.Write(t.Context(), "0", batch))
	if !ok || len(r.At) != 2 || fault.KindOf(r.At[13]) != fault.TooLarge || fault.KindOf(r.At[39]) != fault.TooLarge || fault.Next(r.At[13]) == "" {
		t.Fatalf("%v", r)
	}
	seen := -1
	for _, r := range w.records(38, kgo.ConsumeTopics("narrow")) {
		n, err := strconv.Atoi(string(r.Value))
		if err != nil || n <= seen {
			t.Fatalf("%q behind %d", r.Value, seen)
		}
		seen = n
	}
}

func TestWhatWaits(t *testing.T) {
	for name, c := range map[string]struct {
		fault kfake.Fault
		spec  resource.KafkaDestination
		kind  fault.Kind
		words string
	}{
		"no such topic":    {spec: resource.KafkaDestination{Topic: "nowhere"}, kind: fault.NotFound, words: "does not exist"},
		"not allowed":      {fault: kfake.Fault{Keys: append(kfake.Fault{}.Keys, produce), Err: kerr.TopicAuthorizationFailed}, kind: fault.Denied, words: "may not write"},
		"no such name":     {fault: kfake.Fault{Keys: append(kfake.Fault{}.Keys, produce), Err: kerr.InvalidTopicException}, kind: fault.Invalid, words: "no topic can have this name"},
		"something unseen": {fault: kfake.Fault{Keys: append(kfake.Fault{}.Keys, produce), Err: kerr.SecurityDisabled}, kind: fault.Unavailable, words: "SECURITY_DISABLED"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			if c.fault.Err != nil {
				c.fault.Count = -1
				w.Fault(c.fault)
			}
			d := w.open(c.spec)
			batch := []*event.Event{made(0, "a", "x"), made(1, "b", "y")}
			err := d.Write(t.Context(), "0", batch)
			if fault.KindOf(err) != c.kind || !strings.Contains(fault.Message(err), c.words) {
				t.Errorf("got %v, want %v: %s", err, c.kind, c.words)
			}
		})
	}
}

func TestAFaultThatPassesIsNotSeen(t *testing.T) {
	for _, e := range []*kerr.Error{kerr.NotEnoughReplicas, kerr.NotLeaderForPartition, kerr.NotEnoughReplicasAfterAppend} {
		w := newWorld(t)
		h := w.Fault(kfake.Fault{Keys: append(kfake.Fault{}.Keys, produce), Err: e, Count: 2})
		if err := w.open(resource.KafkaDestination{}).Write(t.Context(), "0", []*event.Event{made(0, "d", "x")}); err != nil || h.Hits() == 0 {
			t.Fatalf("%v after %d faults", err, h.Hits())
		}
		if n := w.count(); n != 1 {
			t.Errorf("%s: %d records: the client's own repeats are to be dropped", e.Message, n)
		}
	}
}

func TestAway(t *testing.T) {
	w := newWorld(t)
	d := w.open(resource.KafkaDestination{})
	batch := []*event.Event{made(0, "d", "x")}
	w.cut(true)
	if err := d.Write(t.Context(), "0", batch); fault.Message(err) != "no gateway of it-cloud is connected" {
		t.Errorf("%v", err)
	}
	w.cut(false)
	if err := d.Write(t.Context(), "0", batch); err != nil {
		t.Error(err)
	}
	w.end.Open = false
	w.cut(false)
	ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
	defer cancel()
	if err := w.open(resource.KafkaDestination{}).Write(ctx, "1", batch); fault.Next(err) == "" || !strings.Contains(fault.Message(err), "not approved") {
		t.Errorf("%v", err)
	}
}

// What a Write leaves behind when it is given up would be sent later, in front of what comes then.
func TestAWriteThatIsGivenUpLeavesNothingBehind(t *testing.T) {
	w := newWorld(t)
	d := w.open(resource.KafkaDestination{})
	if err := d.Write(t.Context(), "0", []*event.Event{made(0, "d", "x")}); err != nil {
		t.Fatal(err)
	}
	h := w.Fault(kfake.Fault{Keys: append(kfake.Fault{}.Keys, produce), Err: kerr.NotEnoughReplicas, Count: -1})
	ctx, cancel := context.WithCancel(t.Context())
	over := make(chan error)
	go func() { over <- d.Write(ctx, "0", []*event.Event{made(1, "d", "lost?")}) }()
	if err := h.Wait(t.Context(), 2); err != nil {
		t.Fatal(err)
	}
	cancel()
	if err := <-over; !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	h.Remove()
	if err := d.Write(t.Context(), "0", []*event.Event{made(2, "d", "y")}); err != nil {
		t.Fatal(err)
	}
	for i, r := range w.records(2) {
		if want := []string{"x", "y"}[i]; string(r.Value) != want {
			t.Errorf("record %d is %q", i, r.Value)
		}
	}
}

// Whatever fails between: every event is there, the first copies of each key in order, every further copy marked.
func TestOrderAndMarksUnderFaults(t *testing.T) {
	for seed := range uint64(20) {
		t.Run(fmt.Sprint(seed), func(t *testing.T) {
			t.Parallel()
			orderAndMarks(t, mathrand.New(mathrand.NewPCG(seed, 1)))
		})
	}
}

func orderAndMarks(t *testing.T, r *mathrand.Rand) {
	w := newWorld(t)
	d := w.open(resource.KafkaDestination{})
	const lanes = 2
	var all sync.WaitGroup
	sizes := make([]int, 1+r.IntN(5))
	for i := range sizes {
		sizes[i] = 1 + r.IntN(40)
	}
	faults := []*kerr.Error{kerr.TopicAuthorizationFailed, kerr.NotLeaderForPartition, kerr.KafkaStorageError, kerr.NotEnoughReplicasAfterAppend, kerr.OutOfOrderSequenceNumber}
	for range r.IntN(4) {
		w.Fault(kfake.Fault{
			Keys: append(kfake.Fault{}.Keys, produce), Partitions: []int32{r.Int32N(3)}, Count: 1 + r.IntN(2),
			Err: faults[r.IntN(len(faults))],
		})
	}
	cutAfter := r.IntN(len(sizes) + 1)
	total := 0
	for lane := range lanes {
		all.Go(func() {
			seq := 0
			for i, n := range sizes {
				var batch []*event.Event
				for range n {
					batch = append(batch, made(seq, fmt.Sprint("device-", lane, "-", seq%3), fmt.Sprint(seq)))
					seq++
				}
				if i == cutAfter && lane == 0 {
					w.cut(false)
				}
				for range 20 {
					err := d.Write(context.Background(), fmt.Sprint(lane), batch)
					if err == nil {
						break
					}
					for _, e := range batch {
						e.Repeat = true
					}
				}
			}
		})
	}
	for _, n := range sizes {
		total += lanes * n
	}
	all.Wait()
	next, seen := map[string]int{}, map[string]bool{}
	for _, rec := range w.records(w.count()) {
		n, _ := strconv.Atoi(string(rec.Value))
		id, key := string(rec.Key)+"/"+string(rec.Value), string(rec.Key)
		repeat := rec.Headers[len(rec.Headers)-1].Key == event.RepeatProperty
		switch {
		case seen[id] && !repeat:
			t.Errorf("a second copy of %s is not marked", id)
		case !seen[id] && n < next[key]:
			t.Errorf("%s behind %d", id, next[key])
		}
		if !seen[id] {
			next[key] = n
		}
		seen[id] = true
	}
	if len(seen) != total {
		t.Errorf("%d of %d events are there", len(seen), total)
	}
}

func BenchmarkWrite(b *testing.B) {
	w := newWorld(b)
	d := w.open(resource.KafkaDestination{})
	batch := make([]*event.Event, 500)
	for i := range batch {
		batch[i] = made(i, fmt.Sprint("device-", i%50), strings.Repeat("x", 256))
		batch[i].Properties = []event.Property{{Name: "line", Value: int64(3)}}
	}
	b.ReportAllocs()
	for b.Loop() {
		if err := d.Write(b.Context(), "0", batch); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N*len(batch))/b.Elapsed().Seconds(), "events/s")
}
