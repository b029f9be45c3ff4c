package eventhubtest

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/resource"
)

// ID and Host are those of the namespace in every world.
const (
	ID   = "0c8d7f5e-8f50-4b0e-9c52-a1a3c5a5b001"
	Host = "lake.servicebus.windows.net"
)

// Options change what a world is made of.
type Options struct {
	Clock    clock.Clock // instead of the system's
	Dir      string      // instead of a directory of its own
	Files    *Files      // instead of a log of its own
	Declared []resource.EventHub
	Change   func(*eventhub.Config)
	Logger   *slog.Logger // instead of silence
}

// Files is where a log is; worlds that have the same go on with each other's events, one after the other.
type Files struct {
	fs  vfs.FS
	dir string
}

// NewFiles returns an empty one, in memory.
func NewFiles() *Files { return &Files{vfs.NewMem(), "log"} }

// FilesIn returns what is in a directory of the machine, for measurements.
func FilesIn(dir string) *Files { return &Files{vfs.Default, dir} }

// World is a process with one namespace.
type World struct {
	Server    *eventhub.Server
	Namespace *eventhub.Namespace
	Events    *eventlog.Log
	Dir       string
	Files     *Files
	Clock     clock.Clock
	Stop      func() // ends the process; called at the end of the test too

	t testing.TB
}

// Start runs a world until the test ends.
func Start(t testing.TB, o Options) *World {
	t.Helper()
	if o.Clock == nil {
		o.Clock = clock.System{}
	}
	if o.Dir == "" {
		o.Dir = t.TempDir()
	}
	if o.Files == nil {
		o.Files = NewFiles()
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	w := &World{Dir: o.Dir, Files: o.Files, Clock: o.Clock, t: t}
	ctx, cancel := context.WithCancel(context.Background())
	var err error
	w.Events, err = eventlog.Open(eventlog.Config{Dir: o.Files.dir, FS: o.Files.fs}, o.Logger, o.Clock, nil)
	w.must(err)
	var all sync.WaitGroup
	ran := make(chan error, 2)
	all.Go(func() { ran <- w.Events.Run(ctx) })
	cfg := eventhub.Config{Dir: o.Dir}
	if o.Change != nil {
		o.Change(&cfg)
	}
	w.Server, err = eventhub.New(ctx, cfg, w.Events, o.Logger, o.Clock, nil)
	w.must(err)
	all.Go(func() { ran <- w.Server.Run(ctx) })
	w.Stop = sync.OnceFunc(func() {
		cancel()
		all.Wait()
		w.must(errors.Join(<-ran, <-ran, w.Server.Close(), w.Events.Close()))
	})
	t.Cleanup(w.Stop)
	w.Declare(o.Declared...)
	w.Namespace, _ = w.Server.Namespace(ID)
	return w
}

func (w *World) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

// Spec is the namespace with what its resource declares.
func Spec(declared ...resource.EventHub) eventhub.Spec {
	return eventhub.Spec{ID: ID, Name: "ot/ot-cloud/lake", HostNames: []string{Host, "127.0.0.1"}, EventHubs: declared}
}

// Declare gives the namespace another resource.
func (w *World) Declare(list ...resource.EventHub) {
	w.t.Helper()
	w.must(w.Server.SetNamespaces(context.Background(), []eventhub.Spec{Spec(list...)}))
}

// Create makes an event hub with so many partitions.
func (w *World) Create(name string, partitions int) eventhub.Entity {
	w.t.Helper()
	_, err := w.Namespace.CreateEventHub(context.Background(), name, eventhub.Settings{Partitions: partitions})
	w.must(err)
	e, err := w.Namespace.Entity(context.Background(), name)
	w.must(err)
	return e
}

// Append stores events in a partition and returns where the first of them is.
func (w *World) Append(e eventhub.Entity, partition int, bodies ...string) eventlog.Position {
	w.t.Helper()
	b := eventlog.Batch{Partition: partition}
	for _, s := range bodies {
		b.Events = append(b.Events, eventlog.Event{Body: []byte(s)})
	}
	at, err := Append(e, b)
	w.must(err)
	return at
}

// Append stores a batch and waits for it.
func Append(e eventhub.Entity, b eventlog.Batch) (at eventlog.Position, err error) {
	done := make(chan struct{})
	e.Append(b, func(p eventlog.Position, failed error) {
		at, err = p, failed
		close(done)
	})
	<-done
	return at, err
}

// Key returns the primary key of a policy, of the namespace when eventHub is empty.
func (w *World) Key(eventHub, policy string) string {
	w.t.Helper()
	key, _, err := w.Namespace.Keys(eventHub, policy)
	w.must(err)
	return key
}

// Token signs a token for an hour as SDKs do, for a path of the namespace: "" for all of it.
func (w *World) Token(path, policy, key string) string {
	w.t.Helper()
	return w.Sign("sb://"+Host+"/"+path, policy, key, time.Hour)
}

// Sign signs any token.
func (w *World) Sign(sr, policy, key string, life time.Duration) string {
	w.t.Helper()
	text, err := sas.SignText(sr, key, policy, w.Clock.Now().Add(life))
	w.must(err)
	return text
}

// Root is a token for everything.
func (w *World) Root() string {
	w.t.Helper()
	return w.Token("", eventhub.PolicyRoot, w.Key("", eventhub.PolicyRoot))
}
