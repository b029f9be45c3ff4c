package main

import (
	"context"
	"io"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const messageSize = 256

// exchange sends one message after the other over each flow and counts the answers: the most the way can do.
func exchange(ctx context.Context, addr string, flows int, d time.Duration) (figures, error) {
	var n, errs atomic.Int64
	var wg sync.WaitGroup
	start := time.Now()
	for range flows {
		c, err := dial(ctx, addr, 'e')
		if err != nil {
			return figures{}, err
		}
		wg.Go(func() {
			defer c.Close()
			buf := make([]byte, messageSize)
			for time.Since(start) < d {
				if _, err := c.Write(buf); err != nil {
					errs.Add(1)
					return
				}
				if _, err := io.ReadFull(c, buf); err != nil {
					errs.Add(1)
					return
				}
				n.Add(1)
			}
		})
	}
	wg.Wait()
	return figures{Messages: float64(n.Load()) / time.Since(start).Seconds(), Errors: errs.Load()}, nil
}

// paced sends so many messages a second over all flows together, each at its own time. One that waited for the answer before it is measured
// from the time it was due, so a way that stalls is charged for what waited; the others from their sending, so that the load's own timers
// are not charged to anybody.
func paced(ctx context.Context, addr string, flows int, d time.Duration, rate float64) (figures, error) {
	var mu sync.Mutex
	var took []float64
	var errs atomic.Int64
	var wg sync.WaitGroup
	every := time.Duration(float64(flows) / rate * float64(time.Second))
	start := time.Now().Add(50 * time.Millisecond)
	for i := range flows {
		c, err := dial(ctx, addr, 'e')
		if err != nil {
			return figures{}, err
		}
		wg.Go(func() {
			defer c.Close()
			buf := make([]byte, messageSize)
			var own []float64
			for due := start.Add(every * time.Duration(i) / time.Duration(flows)); due.Sub(start) < d; due = due.Add(every) {
				from := due
				if wait := time.Until(due); wait > 0 {
					time.Sleep(wait)
					from = time.Now()
				}
				if _, err := c.Write(buf); err != nil {
					errs.Add(1)
					break
				}
				if _, err := io.ReadFull(c, buf); err != nil {
					errs.Add(1)
					break
				}
				own = append(own, float64(time.Since(from).Nanoseconds())/1000)
			}
			mu.Lock()
			took = append(took, own...)
			mu.Unlock()
		})
	}
	wg.Wait()
	if len(took) == 0 {
		return figures{Errors: errs.Load()}, nil
	}
	slices.Sort(took)
	return figures{MedianRTT: took[len(took)/2], P99RTT: took[len(took)*99/100], Messages: float64(len(took)) / d.Seconds(), Errors: errs.Load()}, nil
}
