package eventlog

import (
	"context"
	"errors"
	"log/slog"
	"testing"

	"github.com/cockroachdb/pebble/v2/vfs"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// What is asked for together is carried out in one commit, one after the other.
func TestOneCommitSeesItsOwnStreams(t *testing.T) {
	cfg := Config{Dir: "log", FS: vfs.NewMem(), Partitions: 2, Reserve: 1}
	var ids []uint32
	for round := range 3 { // with the stream new, and there before
		l, err := Open(cfg, slog.New(slog.DiscardHandler), clock.System{}, nil)
		if err != nil {
			t.Fatal(err)
		}
		var got []*request
		ask := func(k kind, existing bool) *request {
			r := getRequest(k, "hub")
			if k == appendEvents {
				r.key = "k"
				if err := l.encode(r, &Event{Body: []byte("21.5")}); err != nil {
					t.Fatal(err)
				}
			}
			r.existing, r.number = existing, 2
			if err := l.queue.push(t.Context(), r); err != nil {
				t.Fatal(err)
			}
			got = append(got, r)
			return r
		}
		if old := l.stream("hub"); old != nil {
			trim := ask(trimPartition, false)
			trim.of, trim.partition = old, 0
		}
		ask(appendEvents, false)
		ask(deleteStream, false)
		late := ask(appendEvents, true)
		ask(appendEvents, false)
		second := ask(appendEvents, true)
		ask(deleteStream, false)
		never := ask(deleteStream, false)
		ask(createStream, false)
		first := ask(appendEvents, true)
		first.partition = 1
		var trim *request
		if old := l.stream("hub"); old != nil {
			trim = ask(trimPartition, false)
			trim.of, trim.partition = old, 0
		}
		ctx, cancel := context.WithCancel(t.Context())
		ran := make(chan error, 1)
		go func() { ran <- l.Run(ctx) }()
		for i, r := range got {
			<-r.reply
			if want := r == late || r == never || r == trim; (r.err != nil) != want || want && fault.KindOf(r.err) != fault.NotFound {
				t.Errorf("round %d: request %d: %v", round, i, r.err)
			}
		}
		if second.answer.pos.Sequence != 1 || first.answer.pos.Sequence != 0 {
			t.Errorf("round %d: %+v, %+v", round, second.answer, first.answer)
		}
		if info, err := l.Info("hub", 1); err != nil || info.Next != 1 || info.First != 0 {
			t.Errorf("round %d: %+v, %v", round, info, err)
		}
		if n := len(*l.streams.Load()); n != 1 {
			t.Errorf("round %d: %d streams", round, n)
		}
		ids = append(ids, l.stream("hub").id)
		cancel()
		if err := errors.Join(<-ran, l.Close()); err != nil {
			t.Fatal(err)
		}
	}
	if ids[0] != 2 || ids[1] != 4 || ids[2] != 6 {
		t.Errorf("ids %v: some are used again", ids)
	}
}
