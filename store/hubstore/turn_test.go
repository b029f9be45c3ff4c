package hubstore

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

func TestQueriesTakeTurns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var all turns
		all.open()
		var ends []func()
		for range cap(all.places) {
			done, err := all.take(t.Context(), false)
			if err != nil {
				t.Fatal(err)
			}
			ends = append(ends, done)
		}
		got := make(chan error, mostWaiting)
		waits := func(ctx context.Context, patient bool) {
			go func() {
				done, err := all.take(ctx, patient)
				if err == nil {
					done()
				}
				got <- err
			}()
			synctest.Wait()
		}
		waits(t.Context(), false)
		ends[0]()
		if err := <-got; err != nil {
			t.Errorf("when another has ended: %v", err)
		}
		if _, err := all.take(t.Context(), false); err != nil {
			t.Error(err)
		}

		began := time.Now()
		waits(t.Context(), false)
		if err := <-got; fault.KindOf(err) != fault.Exhausted || fault.Next(err) == "" || time.Since(began) != longestWait {
			t.Errorf("after %v: %v", time.Since(began), err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		waits(ctx, true) // jobs and configurations wait
		<-time.After(time.Hour)
		cancel()
		if err := <-got; fault.KindOf(err) != fault.Timeout {
			t.Errorf("who has gone: %v", err)
		}
		for range mostWaiting {
			waits(t.Context(), false)
		}
		if _, err := all.take(t.Context(), false); fault.KindOf(err) != fault.Exhausted || !strings.Contains(fault.Message(err), "wait already") {
			t.Errorf("one more: %v", err)
		}
		for range mostWaiting {
			if err := <-got; fault.KindOf(err) != fault.Exhausted {
				t.Error(err)
			}
		}
	})
}
