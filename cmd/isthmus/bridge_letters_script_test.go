package main

import (
	"context"
	"io"
	"log/slog"
	"path/filepath"
	"strconv"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/deadletter"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/localdoor"
	"github.com/isthmus-io/isthmus/fault"
)

// dead DIR NUMBER plays a process that carries the bridge ot/ot-cloud/telemetry with so many dead letters. It takes every second one back.
func dead(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: dead DIR NUMBER")
	}
	dir := ts.MkAbs(args[0])
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	store, err := deadletter.Open(bridge.LettersArgs{Dir: filepath.Join(dir, "letters")})
	ts.Check(err)
	for i := range n {
		e := &event.Event{Body: []byte(`{"celsius":` + strconv.Itoa(900+i) + `}`), Key: "press-4", Origin: event.Origin{Partition: "3", Sequence: int64(i)}}
		ts.Check(store.Put(context.Background(), "3", []string{"contract", "enrich"}[i%2], e, "celsius is above 500"))
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = localdoor.Serve(ctx, localdoor.Socket(dir), carried{store}, slog.New(slog.NewTextHandler(io.Discard, nil)))
	}()
	ts.Defer(func() {
		cancel()
		<-done
		_ = store.Close()
	})
	for c := localdoor.New(dir); ; {
		if _, err := c.Status(context.Background()); err == nil || fault.KindOf(err) != fault.Unavailable {
			return
		}
	}
}

type carried struct{ store *deadletter.Store }

func (carried) Status() []bridge.Status {
	return []bridge.Status{{ID: "u1", Name: "ot/ot-cloud/telemetry"}}
}

func (c carried) Letters(string) (bridge.Letters, bool) { return c.store, true }

func (c carried) Replay(ctx context.Context, _ string, list []*event.Event) error {
	for i, e := range list {
		if i%2 == 1 {
			if err := c.store.Put(ctx, "replay", "contract", e, "celsius is above 500 still"); err != nil {
				return err
			}
		}
	}
	return nil
}
