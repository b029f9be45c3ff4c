package eventhubstore_test

import (
	"errors"
	"log/slog"
	"reflect"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/database/databasetest"
	es "github.com/isthmus-io/isthmus/store/eventhubstore"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

var server databasetest.Server

func TestMain(m *testing.M) { databasetest.Main(m, &server) }

var now = time.UnixMilli(1_800_000_000_123).UTC()

func open(t *testing.T, dsn string) *es.Store {
	t.Helper()
	s, err := es.Open(t.Context(), es.Config{DSN: dsn}, slog.New(slog.DiscardHandler))
	must(t, err)
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func refused(t *testing.T, err error, kind fault.Kind) {
	t.Helper()
	if err == nil || fault.KindOf(err) != kind {
		t.Errorf("%v, want a fault %s", err, kind)
	}
}

func telemetry() es.EventHub {
	return es.EventHub{Key: "telemetry", Name: "Telemetry", Partitions: 4, Age: 24 * time.Hour, Bytes: 1 << 40, Declared: true, Created: now, Updated: now}
}

// What was written is what another process reads.
func TestANamespaceIsMadeOnce(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		first := es.Namespace{ID: "n1", Created: now, Policies: []es.Policy{{Key: "root", Name: "Root", Rights: 0x8000_0001, PrimaryKey: "p", SecondaryKey: "q"}}}
		if got, err := s.Ensure(ctx, first); err != nil || !reflect.DeepEqual(got, first) {
			t.Fatalf("%+v, %v", got, err)
		}
		hub, off := telemetry(), es.EventHub{Key: "off", Name: "off", Partitions: 1, Disabled: true, Created: now, Updated: now.Add(time.Second)}
		own := es.Policy{Hub: "telemetry", Key: "machines", Name: "Machines", Rights: 1, PrimaryKey: "x", SecondaryKey: "y", Declared: true}
		group := es.Group{Hub: "telemetry", Key: "alerts", Name: "Alerts", Declared: true, Created: now}
		must(t, s.Write(ctx, func(tx *es.Tx) error {
			return errors.Join(tx.PutEventHub("n1", hub), tx.PutEventHub("n1", off), tx.PutEventHub("n2", hub), tx.PutPolicy("n1", own), tx.PutGroup("n1", group))
		}))
		again := es.Namespace{ID: "n1", Created: now.Add(time.Hour), Policies: []es.Policy{{Key: "root", Name: "ROOT", PrimaryKey: "new"}}}
		want := es.Namespace{ID: "n1", Created: now, Hubs: []es.EventHub{off, hub}, Policies: []es.Policy{first.Policies[0], own}, Groups: []es.Group{group}}
		if got, err := open(t, dsn).Ensure(ctx, again); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}

		// Partitions and the time of making stay, all else is replaced.
		hub.Name, hub.Partitions, hub.Age, hub.Bytes, hub.Disabled, hub.Declared, hub.Created, hub.Updated = "TELEMETRY", 9, time.Hour, 0, true, false, now.Add(time.Hour), now.Add(time.Hour)
		group.Name, group.Declared, group.Created = "ALERTS", false, now.Add(time.Hour)
		own.Name, own.Rights, own.PrimaryKey, own.SecondaryKey, own.Declared = "MACHINES", 7, "z", "", false
		must(t, s.Write(ctx, func(tx *es.Tx) error {
			return errors.Join(tx.PutEventHub("n1", hub), tx.PutPolicy("n1", own), tx.PutGroup("n1", group))
		}))
		hub.Partitions, hub.Created, group.Created = 4, now, now
		want = es.Namespace{ID: "n1", Created: now, Hubs: []es.EventHub{off, hub}, Policies: []es.Policy{first.Policies[0], own}, Groups: []es.Group{group}}
		if got, err := s.Ensure(ctx, again); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestWhatGoesTakesItsOwnAlong(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		places := []es.Place{{Namespace: "n", Hub: "telemetry", Group: "$default"}, {Namespace: "n", Hub: "telemetry", Group: "g"}, {Namespace: "n", Hub: "other", Group: "g"}, {Namespace: "m", Hub: "telemetry", Group: "g"}}
		must(t, s.Write(ctx, func(tx *es.Tx) error {
			var errs []error
			for _, p := range places {
				hub := telemetry()
				hub.Key = p.Hub
				errs = append(errs, tx.PutEventHub(p.Namespace, hub), tx.PutPolicy(p.Namespace, es.Policy{Hub: p.Hub, Key: "p"}), tx.PutGroup(p.Namespace, es.Group{Hub: p.Hub, Key: p.Group}),
					tx.SetCheckpoint(p, es.Checkpoint{ETag: "e"}, ""), tx.Claim(p, es.Ownership{ETag: "e"}, ""))
			}
			return errors.Join(errs...)
		}))
		left := func(p es.Place) int {
			a, err1 := s.Checkpoints(ctx, p)
			b, err2 := s.Ownerships(ctx, p)
			must(t, errors.Join(err1, err2))
			return len(a) + len(b)
		}
		must(t, s.Write(ctx, func(tx *es.Tx) error { return tx.DeleteGroup("n", "telemetry", "g") }))
		if left(places[0]) != 2 || left(places[1]) != 0 || left(places[2]) != 2 || left(places[3]) != 2 {
			t.Error("a group's checkpoints and ownerships did not go with it, or others' did")
		}
		must(t, s.Write(ctx, func(tx *es.Tx) error { return tx.Forget(es.Place{Namespace: "n", Hub: "other"}) }))
		if left(places[2]) != 0 || left(places[3]) != 2 {
			t.Error("forgetting went wrong")
		}
		must(t, s.Write(ctx, func(tx *es.Tx) error { return tx.DeletePolicy("n", "telemetry", "p") }))
		must(t, s.Write(ctx, func(tx *es.Tx) error { return tx.DeleteEventHub("n", "telemetry") }))
		if left(places[0]) != 0 || left(places[3]) != 2 {
			t.Error("an event hub's did not go with it, or another's did")
		}
		n, err := s.Ensure(ctx, es.Namespace{ID: "n"})
		if err != nil || len(n.Hubs) != 1 || len(n.Policies) != 1 || len(n.Groups) != 1 {
			t.Errorf("%+v, %v", n, err)
		}
		for what, fn := range map[string]func(tx *es.Tx) error{
			"an event hub": func(tx *es.Tx) error { return tx.DeleteEventHub("n", "telemetry") },
			"a policy":     func(tx *es.Tx) error { return tx.DeletePolicy("n", "telemetry", "p") },
			"a group":      func(tx *es.Tx) error { return tx.DeleteGroup("n", "telemetry", "g") },
		} {
			if err := s.Write(ctx, fn); fault.KindOf(err) != fault.NotFound || err == nil {
				t.Errorf("%s that is gone: %v", what, err)
			}
		}
	})
}

func TestCheckpointsAndOwnerships(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		place := es.Place{Namespace: "n", Hub: "h", Group: "g"}
		set := func(c es.Checkpoint, ifMatch string) error {
			return s.Together(ctx, func(tx *es.Tx) error { return tx.SetCheckpoint(place, c, ifMatch) })
		}
		one := es.Checkpoint{Partition: 10, Offset: "4096", Sequence: 1 << 40, Owner: "me", ETag: "a", Updated: now}
		zero := es.Checkpoint{Partition: 2, Offset: "-1", Sequence: -1, ETag: "b", Updated: now}
		refused(t, set(one, "a"), fault.Precondition)
		must(t, set(one, ""))
		must(t, set(zero, ""))
		one.ETag, one.Sequence = "c", 7
		refused(t, set(one, "b"), fault.Precondition)
		must(t, set(one, "a"))
		if got, err := s.Checkpoints(ctx, place); err != nil || !reflect.DeepEqual(got, []es.Checkpoint{zero, one}) {
			t.Errorf("%+v, %v", got, err)
		}

		claim := func(o es.Ownership, ifMatch string) error {
			return s.Together(ctx, func(tx *es.Tx) error { return tx.Claim(place, o, ifMatch) })
		}
		mine := es.Ownership{Partition: 3, Owner: "me", ETag: "a", Modified: now}
		refused(t, claim(mine, "x"), fault.Precondition)
		must(t, claim(mine, ""))
		refused(t, claim(es.Ownership{Partition: 3, Owner: "you", ETag: "b"}, ""), fault.Precondition)
		yours := es.Ownership{Partition: 3, Owner: "you", ETag: "b", Modified: now.Add(time.Second)}
		must(t, claim(yours, "a"))
		refused(t, claim(mine, "a"), fault.Precondition)
		if got, err := s.Ownerships(ctx, place); err != nil || !reflect.DeepEqual(got, []es.Ownership{yours}) {
			t.Errorf("%+v, %v", got, err)
		}
		if got, err := s.Ownerships(ctx, es.Place{Namespace: "n", Hub: "h", Group: "other"}); err != nil || len(got) != 0 {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

// A function that fails leaves nothing of what it did.
func TestAllOrNothing(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		s, ctx := open(t, dsn), t.Context()
		no := errors.New("no")
		err := s.Write(ctx, func(tx *es.Tx) error {
			must(t, tx.PutEventHub("n", telemetry()))
			return no
		})
		if n, err2 := s.Ensure(ctx, es.Namespace{ID: "n"}); !errors.Is(err, no) || err2 != nil || len(n.Hubs) != 0 {
			t.Errorf("%v, %+v, %v", err, n, err2)
		}
	})
}

// One database may be everybody's.
func TestBesideOthers(t *testing.T) {
	server.Each(t, func(t *testing.T, dsn string) {
		h, err := hubstore.Open(t.Context(), hubstore.Config{DSN: dsn}, slog.New(slog.DiscardHandler))
		must(t, err)
		s := open(t, dsn)
		_, err = s.Ensure(t.Context(), es.Namespace{ID: "n"})
		must(t, errors.Join(err, h.Close()))
	})
}
