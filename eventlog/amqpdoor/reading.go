package amqpdoor

import (
	"context"
	"errors"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/eventlog/amqpevent"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp/engine"
)

// round is how many events are looked at before the end of the partition is looked at again, for those who want to know it.
const round = 1024

// run is the receiver's goroutine. When there is nothing more to send it goes on in a fresh one: reading needs a deep stack, waiting does
// not, and most receivers wait most of the time.
func (r *receiver) run() {
	for {
		if err := r.wait(); err != nil {
			r.over(err)
			return
		}
		rested, err := r.deliver()
		if err != nil {
			r.over(err)
			return
		}
		if rested {
			r.v.busy.Go(r.run)
			return
		}
	}
}

// wait returns when there is credit and an event for it.
func (r *receiver) wait() error {
	ctx := r.Context()
	for {
		if err := r.Await(ctx); err != nil {
			return err
		}
		flowed := r.Flowed()
		info, err := r.entity.Info(r.partition)
		if err != nil || info.Next > r.next {
			return err
		}
		if r.Idle(); r.Credit() == 0 { // a peer that drained has its credit back
			continue
		}
		err = r.entity.Wait(until{ctx, flowed}, r.partition, r.next)
		if err == nil || ctx.Err() != nil || fault.KindOf(err) != fault.Timeout {
			return err
		}
	}
}

// deliver sends what there is. rested tells that it was all there is.
func (r *receiver) deliver() (rested bool, err error) {
	door, ctx := r.v.door, r.Context()
	render, _ := door.renderers.Get().(*amqpevent.Renderer)
	defer func() {
		render.Rest()
		door.renderers.Put(render)
	}()
	render.Devices = r.entity.Devices()
	for {
		var runtime *amqpevent.Runtime
		if r.metric {
			if runtime, err = r.runtime(); err != nil {
				return false, err
			}
		}
		sent, blocked, stuck := 0, false, []byte(nil)
		err = r.entity.Scan(ctx, r.partition, r.next, round, func(v *eventlog.View) bool {
			r.look(v)
			parts := render.Message(v, runtime)
			if !r.TrySend(engine.Outgoing{Parts: parts, Settled: true}) {
				blocked = r.Credit() > 0
				if blocked && sent == 0 { // it may be larger than the peer's window ever is
					for _, p := range parts {
						stuck = append(stuck, p...)
					}
				}
				return false
			}
			r.next, r.began = v.Sequence+1, true
			sent++
			return true
		})
		if err == nil && stuck != nil {
			if err = r.Send(ctx, engine.Outgoing{Parts: [][]byte{stuck}, Settled: true}); err == nil {
				r.next, r.began = r.next+1, true
				sent++
			}
		}
		door.metrics.out.Add(float64(sent))
		if err != nil {
			return false, err
		}
		switch {
		case sent == 0:
			return true, nil
		case blocked: // until something was written
			return false, nil
		}
	}
}

// look notices that events are missing: retention was quicker than the receiver. It goes on with the oldest there is.
func (r *receiver) look(v *eventlog.View) {
	if v.Sequence <= r.next {
		return
	}
	if r.began {
		missed := v.Sequence - r.next
		r.v.door.metrics.trimmed.Add(float64(missed))
		r.v.door.log.Warn("eventhub: events were trimmed before a receiver had read them; it goes on with the oldest kept",
			"eventhub", r.entity.Name(), "group", r.group, "partition", r.partition, "receiver", r.name, "missed", missed, "from", v.Sequence)
	}
	r.next = v.Sequence
}

func (r *receiver) runtime() (*amqpevent.Runtime, error) {
	info, err := r.entity.Info(r.partition)
	if err != nil {
		return nil, err
	}
	return &amqpevent.Runtime{LastSequence: info.Next - 1, LastOffset: info.LastOffset, LastEnqueued: info.LastEnqueued, Retrieved: r.v.door.clock.Now()}, nil
}

// over ends the link, unless that is why there was an error.
func (r *receiver) over(err error) {
	if r.Context().Err() != nil {
		return
	}
	if fault.KindOf(err) == fault.NotFound && isGone(r.entity) {
		r.v.farewell(&r.link)
		return
	}
	e := condition(err)
	r.v.door.log.Debug("eventhub: a receiver was detached", "address", r.Address(), "condition", string(e.Condition), "err", err)
	r.Detach(e)
}

// until is a context that ends when the peer has sent a flow, too: the engine says that of a link which ends as well.
type until struct {
	context.Context
	flowed <-chan struct{}
}

var errFlowed = errors.New("the peer sent a flow")

func (u until) Done() <-chan struct{} { return u.flowed }

func (u until) Err() error {
	select {
	case <-u.flowed:
		return errFlowed
	default:
		return nil
	}
}

// Deadline says that there is none.
func (u until) Deadline() (time.Time, bool) { return time.Time{}, false }
