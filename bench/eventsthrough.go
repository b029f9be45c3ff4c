package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/isthmus-io/isthmus/wire/amqp"
)

// through sends events that say when they were sent, and reads them. One that had to wait for a place in its sender's window counts from when
// it was due.
func (l eventLoad) through(ctx context.Context, ready func() bool) (figures, error) {
	receivers, err := l.receivers(ctx, 2000)
	if err != nil {
		return figures{}, err
	}
	var senders []publisher
	for i := range l.Senders {
		p, err := l.publisher(ctx, i)
		if err != nil {
			return figures{}, err
		}
		senders = append(senders, p)
	}
	if !ready() {
		return figures{}, errors.New("called off")
	}
	reading, stop := context.WithCancel(ctx)
	defer stop()
	begun, at := time.Now(), l.span()
	var t tally
	var sent atomic.Int64
	var all sync.WaitGroup
	arrived := func(stamp int64) {
		from := time.Unix(0, stamp)
		if from.Before(begun) { // of somebody before us
			return
		}
		t.all.Add(1)
		if now := time.Now(); at.holds(now) {
			t.counted.Add(1)
			t.took1(now.Sub(from))
		}
	}
	for _, r := range receivers {
		all.Go(func() {
			for {
				d, err := r.Next(reading)
				if err != nil {
					if reading.Err() == nil {
						t.failed(err.Error())
					}
					return
				}
				if stamp, ok := stampOf(d.Message); ok {
					arrived(stamp)
				}
			}
		})
	}
	var writing sync.WaitGroup
	for i, p := range senders {
		writing.Go(func() { l.paced(p, i, at, &sent, &t) })
	}
	writing.Wait()
	for deadline := time.Now().Add(5 * time.Second); t.all.Load() < sent.Load() && time.Now().Before(deadline); {
		time.Sleep(5 * time.Millisecond)
	}
	if missing := sent.Load() - t.all.Load(); missing > 0 {
		t.errs.Add(missing)
		t.failed(fmt.Sprintf("%d of %d events did not come", missing, sent.Load()))
	}
	stop()
	all.Wait()
	return t.figures(l.Seconds), nil
}

// paced has a sender send at its own times, or as quickly as its window lets it.
func (l eventLoad) paced(p publisher, i int, at span, sent *atomic.Int64, t *tally) {
	window := make(chan struct{}, l.Window)
	body := make([]byte, l.Body)
	var every time.Duration
	due := time.Now()
	if l.Rate > 0 {
		every = time.Duration(float64(l.Senders) / l.Rate * float64(time.Second))
		due = due.Add(every * time.Duration(i) / time.Duration(l.Senders))
	}
	for ; ; due = due.Add(every) {
		from := time.Now()
		if wait := due.Sub(from); l.Rate > 0 && wait > 0 {
			time.Sleep(wait)
			from = time.Now()
		} else if l.Rate > 0 {
			from = due
		}
		if from.After(at.until) || time.Now().After(at.until) {
			break
		}
		window <- struct{}{}
		if l.Rate == 0 {
			from = time.Now()
		}
		binary.BigEndian.PutUint64(body, uint64(from.UnixNano()))
		sent.Add(1)
		if err := p.publish(body, func(ok bool) {
			if !ok {
				t.failed("an event was not accepted")
			}
			<-window
		}); err != nil {
			t.failed(err.Error())
			return
		}
	}
	for range cap(window) {
		window <- struct{}{}
	}
}

// stampOf finds the time in an event's body.
func stampOf(message []byte) (stamp int64, ok bool) {
	s, err := amqp.Scan(message)
	if err != nil {
		return 0, false
	}
	_ = amqp.EachData(s.Body, func(data []byte) error {
		if ok = len(data) >= 8; ok {
			stamp = int64(binary.BigEndian.Uint64(data))
		}
		return nil
	})
	return stamp, ok
}
