package eventhubs_test

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// Connections break again and again while lanes write: what was written at last is everything, in order for each key, and every second
// copy is marked.
func TestConnectionsBreakWhileLanesWrite(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	w.ns.Create("copies", 4)
	d := w.destination("copies")
	const lanes, batches, size = 3, 40, 50
	var broken, all sync.WaitGroup
	progress := make(chan struct{}, 1000)
	all.Go(func() {
		for i := range lanes * batches {
			<-progress
			if i%15 == 7 {
				w.cut()
			}
		}
	})
	var again int
	var mu sync.Mutex
	for l := range lanes {
		broken.Go(func() {
			lane := strconv.Itoa(l)
			for b := range batches {
				list := events(size, func(i int) string { return lane + "-" + strconv.Itoa(i%5) })
				for i, e := range list {
					e.Origin = event.Origin{Partition: lane, Sequence: int64(b*size + i)}
				}
				for try := 0; ; try++ {
					err := d.Write(t.Context(), lane, list)
					if err == nil {
						break
					}
					if k := fault.KindOf(err); k != fault.Unavailable && k != fault.Timeout || try > 50 {
						t.Errorf("write: %v", err)
						return
					}
					for _, e := range list {
						e.Repeat = true
					}
					mu.Lock()
					again++
					mu.Unlock()
				}
				progress <- struct{}{}
			}
		})
	}
	broken.Wait()
	if !t.Failed() {
		all.Wait()
	}
	if again == 0 {
		t.Error("nothing was in the way of a break")
	}
	fresh, seen, last := map[string]int{}, map[string]bool{}, map[string]int64{}
	s := w.source("copies")
	for p := range 4 {
		r := w.read(s, strconv.Itoa(p), bridge.Earliest(), 1)
		next, _ := r.End()
		for _, e := range w.next(r, int(next)) {
			id := event.Text(e.Properties, event.OriginProperty)
			_, o, _ := event.ParseID(id)
			if v, _ := event.Get(e.Properties, event.RepeatProperty); v != true {
				if fresh[id]++; seen[id] || fresh[id] > 1 {
					t.Errorf("%s comes again without a mark", id)
				}
			}
			if !seen[id] {
				if before, ok := last[e.Key]; ok && o.Sequence <= before {
					t.Errorf("%s comes after event %d of %s", id, before, e.Key)
				}
				last[e.Key] = o.Sequence
			}
			seen[id] = true
		}
		_ = r.Close()
	}
	if len(seen) != lanes*batches*size {
		t.Errorf("%d of %d events arrived", len(seen), lanes*batches*size)
	}
}

func TestAReaderGoesOnAfterABreak(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	e := w.ns.Create("telemetry", 1)
	s := w.source("telemetry")
	r := w.read(s, "0", bridge.Earliest(), 3)
	w.ns.Append(e, 0, "a", "b")
	w.next(r, 2)
	w.setAway(true)
	w.cut()
	_, err := r.Next(t.Context(), 10, 1<<20)
	wantKind(t, err, fault.Unavailable, "broke")
	_ = r.Close()
	_, err = s.Read(t.Context(), "0", bridge.At(2), 3)
	wantKind(t, err, fault.Unavailable, "cannot be reached through the endpoint ot/ot-cloud/lake")
	_, err = s.Partitions(t.Context())
	wantKind(t, err, fault.Unavailable)
	w.setAway(false)
	r = w.read(s, "0", bridge.At(2), 3)
	w.ns.Append(e, 0, "c")
	if got := w.next(r, 1)[0]; string(got.Body) != "c" || got.Origin.Sequence != 2 {
		t.Errorf("%s at %d", got.Body, got.Origin.Sequence)
	}
}

func TestAHigherEpochTakesAPartitionOver(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	w.ns.Create("telemetry", 1)
	old := w.read(w.source("telemetry"), "0", bridge.Earliest(), 1)
	s := w.source("telemetry")
	r := w.read(s, "0", bridge.Earliest(), 2)
	defer func() { _ = r.Close() }()
	_, err := old.Next(t.Context(), 1, 1)
	wantKind(t, err, fault.Conflict, "higher epoch of '2'", "consumer group")
	_, err = s.Read(t.Context(), "0", bridge.Earliest(), 1)
	wantKind(t, err, fault.Conflict, "higher epoch")
}

func TestNextEndsWithItsContextAndWithClose(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	w.ns.Create("telemetry", 1)
	r := w.read(w.source("telemetry"), "0", bridge.Earliest(), 1)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := r.Next(ctx, 1, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	ended := make(chan error, 1)
	go func() {
		_, err := r.Next(context.Background(), 1, 1)
		ended <- err
	}()
	_ = r.Close()
	if err := <-ended; err == nil {
		t.Error("an event came from nowhere")
	}
}

func TestEventsThatNobodyTakes(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	w.ns.Create("copies", 1)
	d := w.destination("copies")
	list := events(7, func(int) string { return "k" })
	list[1].Body = make([]byte, 1<<20)
	list[2].Key = strings.Repeat("k", 129)
	list[3].System = []event.Property{{Name: "creation-time", Value: "yesterday"}}
	list[4].Properties = []event.Property{{Name: "x", Value: struct{}{}}}
	list[5].Body = make([]byte, 900<<10)
	err := d.Write(t.Context(), "0", list)
	refused, ok := errors.AsType[*event.Refused](err)
	if !ok || len(refused.At) != 4 {
		t.Fatalf("%v", err)
	}
	wantKind(t, refused.At[1], fault.TooLarge, "takes at most 1048576")
	wantKind(t, refused.At[2], fault.Invalid, "129 bytes")
	wantKind(t, refused.At[3], fault.Invalid, "creation-time")
	wantKind(t, refused.At[4], fault.Invalid, "struct")
	if got := w.everything("copies", 1, 3)["0"]; len(got) != 3 || string(got[0].Body) != "e0" || len(got[1].Body) != 900<<10 || string(got[2].Body) != "e6" {
		t.Error("the others did not arrive")
	}
}

// picky answers transfers as a test says.
type picky struct {
	engine.Handler
	answer func(d *engine.Delivery) bool // true: it has
}

func (p *picky) Attach(l *engine.Link) {
	if l.PeerReceives() || !strings.Contains(l.Address(), "/Partitions/") {
		p.Handler.Attach(l)
		return
	}
	l.Accept(engine.Accept{MaxMessage: 64 << 10, Receive: func(d *engine.Delivery) {
		if !p.answer(d) {
			d.Accept()
		}
	}})
}

// An event that an event hub takes exception to spoils nothing for those it was sent with.
func TestOneBadEventAmongGoodOnes(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	w.ns.Create("copies", 1)
	taken := map[string]int{}
	w.wrap = func(h engine.Handler) engine.Handler {
		return &picky{h, func(d *engine.Delivery) bool {
			text := string(d.Message())
			if strings.Contains(text, "poison") {
				d.Reject(amqp.Errorf("com.microsoft:argument-error", "There is poison in it."))
				return true
			}
			for i := range 100 {
				if strings.Contains(text, fmt.Sprintf("<%d>", i)) {
					taken[strconv.Itoa(i)]++
				}
			}
			return false
		}}
	}
	d := w.destination("copies")
	list := events(100, func(int) string { return "" })
	for i, e := range list {
		e.Body = append(fmt.Appendf(nil, "<%d>", i), make([]byte, 3000)...) // several messages
	}
	list[17].Body, list[18].Body, list[99].Body = []byte("poison"), []byte("poison"), []byte("poison")
	refused, ok := errors.AsType[*event.Refused](d.Write(t.Context(), "0", list))
	if !ok || len(refused.At) != 3 {
		t.Fatalf("refused %v", refused)
	}
	for _, i := range []int{17, 18, 99} {
		wantKind(t, refused.At[i], fault.Invalid, "There is poison in it")
	}
	if len(taken) != 97 {
		t.Errorf("%d arrived", len(taken))
	}
	for i, n := range taken {
		if n != 1 {
			t.Errorf("%s arrived %d times", i, n)
		}
	}
}

func TestWhatAnEventHubAnswers(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	w.ns.Create("copies", 1)
	var condition amqp.Symbol
	w.wrap = func(h engine.Handler) engine.Handler {
		return &picky{h, func(d *engine.Delivery) bool {
			switch condition {
			case "":
				return false
			case "gone":
				d.Link().Detach(amqp.Errorf(amqp.ConditionDetachForced, "It was idle."))
			default:
				d.Reject(amqp.Errorf(condition, "It says no. TrackingId: 1"))
			}
			return true
		}}
	}
	d := w.destination("copies")
	for _, x := range []struct {
		condition amqp.Symbol
		kind      fault.Kind
		words     string
	}{
		{"com.microsoft:server-busy", fault.Exhausted, "throttled"},
		{"com.microsoft:timeout", fault.Timeout, "It says no"},
		{amqp.ConditionUnauthorizedAccess, fault.Denied, "role"},
		{"com.microsoft:entity-disabled", fault.Unavailable, "disabled"},
		{amqp.ConditionInternalError, fault.Unavailable, "It says no (amqp:internal-error)"},
		{"gone", fault.Unavailable, "It was idle"},
		{"", 0, ""},
	} {
		condition = x.condition
		err := d.Write(t.Context(), "0", events(2, func(int) string { return "" }))
		if x.condition == "" {
			if err != nil {
				t.Errorf("%v", err)
			}
			continue
		}
		wantKind(t, err, x.kind, x.words)
	}
}

// A key that is renewed cuts its holder off, and one that comes back with it is not let in.
func TestARenewedKey(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{Check: 10 * time.Millisecond})
	w.ns.Create("telemetry", 1)
	s := w.source("telemetry")
	r := w.read(s, "0", bridge.Earliest(), 1)
	if err := w.ns.Namespace.RenewPolicyKey(t.Context(), "", eventhub.PolicyRoot, eventhub.Primary, "test"); err != nil {
		t.Fatal(err)
	}
	_, err := r.Next(t.Context(), 1, 1)
	wantKind(t, err, fault.Denied, "role")
	_ = r.Close()
	_, err = s.Read(t.Context(), "0", bridge.Earliest(), 1)
	wantKind(t, err, fault.Unauthenticated, "InvalidSignature")
}

func TestMissingThings(t *testing.T) {
	w := newWorld(t, clock.System{}, amqpdoor.Config{})
	e := w.ns.Create("telemetry", 1)
	w.ns.Append(e, 0, "a")
	_, err := w.source("nothing").Partitions(t.Context())
	wantKind(t, err, fault.NotFound, "could not be found")
	err = w.destination("nothing").Write(t.Context(), "0", events(1, func(int) string { return "" }))
	wantKind(t, err, fault.NotFound)
	_, err = w.source("telemetry").Read(t.Context(), "7", bridge.Earliest(), 1)
	wantKind(t, err, fault.NotFound)
	_, err = w.source("telemetry").Read(t.Context(), "0", bridge.At(2), 1)
	wantKind(t, err, fault.Invalid, "its next one is 1", "made anew")
	w.end.HostName = "wrong.example"
	w.end.Secret = strings.Replace(w.end.Secret, w.host, "wrong.example", 1)
	_, err = w.source("telemetry").Partitions(t.Context())
	wantKind(t, err, fault.Unavailable, "does not prove to be wrong.example")
	w.end.Open = false
	_, err = w.source("telemetry").Partitions(t.Context())
	wantKind(t, err, fault.Unavailable, "not approved")
}
