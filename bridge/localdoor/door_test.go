package localdoor_test

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/deadletter"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/bridge/localdoor"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/resource"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// bridges is one bridge or two, of which the first has dead letters.
type bridges struct {
	list     []bridge.Status
	store    *deadletter.Store
	replayed []*event.Event
	fail     error
}

func (b *bridges) Status() []bridge.Status { return b.list }

func (b *bridges) Letters(id string) (bridge.Letters, bool) {
	if id != "u1" {
		return nil, false
	}
	return b.store, true
}

func (b *bridges) Replay(_ context.Context, _ string, list []*event.Event) error {
	if b.fail == nil {
		b.replayed = append(b.replayed, list...)
	}
	return b.fail
}

func serve(t *testing.T, letters int) (*bridges, *localdoor.Client) {
	t.Helper()
	dir, err := os.MkdirTemp("", "door") // short: a socket's path has some 90 bytes
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	b := &bridges{list: []bridge.Status{{ID: "u1", Name: "ot/ot-cloud/b", BridgeStatus: resource.BridgeStatus{State: resource.BridgeRunning}}}}
	if b.store, err = deadletter.Open(bridge.LettersArgs{Dir: filepath.Join(dir, "letters")}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.store.Close() })
	for i := range letters {
		step := []string{"contract", "enrich"}[i%2]
		e := &event.Event{Body: []byte(`{"n":1}`), Key: "press-4", Origin: event.Origin{Partition: "3", Sequence: int64(i)}}
		if err := b.store.Put(t.Context(), "3", step, e, "why "+step); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- localdoor.Serve(ctx, localdoor.Socket(dir), b, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	c := localdoor.New(dir)
	for {
		if _, err := c.Status(t.Context()); fault.KindOf(err) != fault.Unavailable || err == nil {
			return b, c
		}
	}
}

func TestListShowReplayDelete(t *testing.T) {
	b, c := serve(t, 6)
	ctx := t.Context()
	if s, err := c.Status(ctx); err != nil || len(s) != 1 || s[0].Name != "ot/ot-cloud/b" || s[0].State != resource.BridgeRunning {
		t.Error(s, err)
	}
	list, err := c.Letters(ctx, "", deadletter.Filter{Step: "contract", First: 1, Last: 5, After: time.Unix(1, 0), Before: time.Now().Add(time.Hour)}, 2, false)
	if err != nil || list.Bridge != "ot/ot-cloud/b" || list.Total != 3 || len(list.Letters) != 2 || list.Letters[1].ID != 3 || list.Letters[1].Reason != "why contract" || list.Letters[0].Device != "press-4" || list.Letters[0].Event != nil {
		t.Errorf("%+v %v", list, err)
	}
	if list, err = c.Letters(ctx, "u1", deadletter.Filter{Lane: "3"}, 10, true); err != nil || len(list.Letters) != 6 || !strings.Contains(string(list.Letters[0].Event), `"n":1`) {
		t.Errorf("%+v %v", list, err)
	}
	if l, err := c.Letter(ctx, "ot/ot-cloud/b", 2); err != nil || l.Step != "enrich" || !strings.Contains(string(l.Event), `"sequence":1`) {
		t.Errorf("%+v %v", l, err)
	}
	if d, err := c.Replay(ctx, "", deadletter.Filter{Step: "contract"}); err != nil || d.Letters != 3 || len(b.replayed) != 3 || b.store.Kept() != 3 {
		t.Error(d, err)
	}
	b.fail = fault.New("bridge.Replay", fault.Unavailable, "the bridge does not run").Advise("look why")
	if _, err := c.Replay(ctx, "", deadletter.Filter{}); fault.KindOf(err) != fault.Unavailable || fault.Message(err) != "the bridge does not run; 0 were replayed before" || fault.Next(err) != "look why" {
		t.Error(err)
	}
	b.fail = errors.New("secret")
	if _, err := c.Replay(ctx, "", deadletter.Filter{}); fault.KindOf(err) != fault.Internal || strings.Contains(err.Error(), "secret") {
		t.Error(err)
	}
	if d, err := c.Delete(ctx, "", deadletter.Filter{Last: 2}); err != nil || d.Letters != 1 || b.store.Kept() != 2 {
		t.Error(d, err)
	}
}

func TestWhatIsAskedWrongly(t *testing.T) {
	b, c := serve(t, 1)
	ctx := t.Context()
	if _, err := c.Letter(ctx, "", 9); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	if _, err := c.Letters(ctx, "ot/ot-cloud/other", deadletter.Filter{}, 10, false); fault.KindOf(err) != fault.NotFound || !strings.Contains(fault.Next(err), "ot/ot-cloud/b") {
		t.Error(err)
	}
	if _, err := c.Letters(ctx, "", deadletter.Filter{}, 0, false); fault.KindOf(err) != fault.Invalid {
		t.Error(err)
	}
	b.list = append(b.list, bridge.Status{ID: "u2", Name: "ot/ot-cloud/c"})
	if _, err := c.Letters(ctx, "", deadletter.Filter{}, 10, false); fault.KindOf(err) != fault.Invalid || !strings.Contains(fault.Next(err), "ot/ot-cloud/c") {
		t.Error(err)
	}
	if _, err := c.Letters(ctx, "ot/ot-cloud/c", deadletter.Filter{}, 10, false); fault.KindOf(err) != fault.Unavailable {
		t.Error(err)
	}
	b.list = nil
	if _, err := c.Letters(ctx, "", deadletter.Filter{}, 10, false); fault.KindOf(err) != fault.NotFound {
		t.Error(err)
	}
	if _, err := localdoor.New(t.TempDir()).Status(ctx); fault.KindOf(err) != fault.Unavailable || fault.Next(err) == "" {
		t.Error(err)
	}
}
