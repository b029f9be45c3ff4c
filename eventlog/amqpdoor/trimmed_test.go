package amqpdoor_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/eventlog/amqpdoor"
)

// Who comes back with a position that retention has trimmed begins with the oldest event there is, or, when there is none, with the next one.
func TestPositionsThatWereTrimmed(t *testing.T) {
	for _, trimmed := range []int64{6, 10} {
		w := newWorld(t, amqpdoor.Config{}, clock.System{})
		c := w.all()
		s := c.sender("telemetry/Partitions/0", nil)
		offsets := make([]int64, 10)
		for i := range offsets {
			w.send(s, encoded(t, strconv.Itoa(i)))
			info, _ := w.log.Info("s/telemetry", 0)
			offsets[i] = info.LastOffset
		}
		if err := w.log.Trim("s/telemetry", 0, trimmed); err != nil {
			t.Fatal(err)
		}
		filters := []string{
			"", "x-opt-offset > '-1'", "x-opt-sequence-number > '-1'", "x-opt-sequence-number > '0'", "x-opt-sequence-number >= '3'", "x-opt-sequence-number > '5'",
			fmt.Sprintf("x-opt-offset > '%d'", offsets[0]), fmt.Sprintf("x-opt-offset >= '%d'", offsets[3]), fmt.Sprintf("x-opt-offset > '%d'", offsets[5]),
			"x-opt-enqueued-time > '0'",
		}
		if trimmed == 10 {
			filters = append(filters, "x-opt-sequence-number > '9'", fmt.Sprintf("x-opt-offset > '%d'", offsets[9]), "x-opt-offset > '@latest'")
		}
		for _, filter := range filters {
			want := trimmed
			r := c.receiver(first+"0", filter, 1, nil)
			if trimmed == 10 {
				info, _ := w.log.Info("s/telemetry", 0)
				want = info.Next
				w.send(s, encoded(t, "next"))
			}
			if _, m := w.next(r); sequence(m) != want {
				t.Errorf("trimmed to %d, %s: begins with %d, want %d", trimmed, filter, sequence(m), want)
			}
			if err := r.Detach(w.ctx); err != nil {
				t.Fatal(err)
			}
			if trimmed == 10 { // nothing is there again
				if err := w.log.Trim("s/telemetry", 0, want+1); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
