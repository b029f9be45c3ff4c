package engine

import (
	"context"
	"log/slog"
	"sync"
	"testing"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/wire/amqp"
	"github.com/isthmus-io/isthmus/wire/amqp/amqptest"
)

// Several senders of one session, whose window closes under them again and again: ids go in order all the same, or the engine would end
// the session.
func TestSendersShareAWindow(t *testing.T) {
	h := &house{}
	conn := h.serving(t, New(Config{Window: 16}, slog.New(slog.DiscardHandler), clock.System{}, nil))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	c, err := amqptest.Connect(ctx, conn, amqptest.Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Abort()
	session, err := c.Session(ctx)
	if err != nil {
		t.Fatal(err)
	}
	const senders, each = 4, 500
	var sending, outcomes sync.WaitGroup
	outcomes.Add(senders * each)
	for range senders {
		s, err := session.Sender(ctx, "queue", nil)
		if err != nil {
			t.Fatal(err)
		}
		sending.Go(func() {
			for range each {
				err := s.Start(ctx, []byte{0, 0x53, 0x75, 0xa0, 1, 'x'}, 0, func(state amqp.State) {
					if state != (amqp.Accepted{}) {
						t.Errorf("%v", state)
					}
					outcomes.Done()
				})
				if err != nil {
					t.Error(err)
					outcomes.Done()
				}
			}
		})
	}
	sending.Wait()
	outcomes.Wait()
}
