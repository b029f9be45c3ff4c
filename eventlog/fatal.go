package eventlog

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strings"
	"syscall"

	"github.com/cockroachdb/pebble/v2"

	"github.com/isthmus-io/isthmus/fault"
)

// storeLogger is what the store below speaks to. Its Fatalf must not return, since the store would go on and report success.
type storeLogger struct{ l *Log }

func (s storeLogger) Infof(format string, args ...any) {
	if s.l.log.Enabled(context.Background(), slog.LevelDebug) {
		s.l.log.Debug(fmt.Sprintf(format, args...), "dir", s.l.cfg.Dir)
	}
}

func (s storeLogger) Errorf(format string, args ...any) {
	s.l.log.Warn(fmt.Sprintf(format, args...), "dir", s.l.cfg.Dir)
}

// Fatalf marks the log failed. On the committer's goroutine it unwinds to apply; any other goroutine of the store is parked for
// what remains of the process, so that it changes nothing more on the disk.
func (s storeLogger) Fatalf(format string, args ...any) {
	err := &fatal{words: fmt.Sprintf(format, args...)}
	for _, a := range args {
		if cause, ok := a.(error); ok {
			err.cause = cause
		}
	}
	_ = s.l.fail(err)
	if calledByCommitter() {
		panic(err)
	}
	select {}
}

// fatal is what the store says when it gives up.
type fatal struct {
	words string
	cause error
}

func (f *fatal) Error() string { return f.words }
func (f *fatal) Unwrap() error { return f.cause }

func calledByCommitter() bool {
	pcs := make([]uintptr, 64)
	frames := runtime.CallersFrames(pcs[:runtime.Callers(2, pcs)])
	for {
		f, more := frames.Next()
		if strings.HasSuffix(f.Function, "eventlog.(*committer).apply") {
			return true
		}
		if !more {
			return false
		}
	}
}

// apply writes and fsyncs a batch. The store panics when its log file fails in the wrong moment, and calls Fatalf otherwise: both
// end here, and only here can it be known that the batch was not acknowledged.
func (c *committer) apply(b *pebble.Batch) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case error:
			err = c.fail(p)
		default:
			err = c.fail(fmt.Errorf("%v", p)) //nolint:err113 // a panic's value, for the log
		}
	}()
	if err := c.db.Apply(b, pebble.Sync); err != nil {
		return c.fail(err)
	}
	return c.Err()
}

// fail ends the log for good and returns why. The first cause stays.
func (l *Log) fail(cause error) error {
	f := fault.Newf("eventlog", fault.Unavailable, "the event log in %s stopped because a write failed: %v", l.cfg.Dir, cause).
		Advise("look at the disk, then start again: every acknowledged event is kept").Because(cause)
	if errors.Is(cause, syscall.ENOSPC) {
		f = fault.Newf("eventlog", fault.Exhausted, "the disk holding %s has no space left and the event log stopped while it waited for some", l.cfg.Dir).
			Advise("free space on that disk, then start again: every acknowledged event is kept").Because(cause)
	}
	if l.failed.CompareAndSwap(nil, f) {
		l.log.Error("the event log has failed and accepts nothing more", "dir", l.cfg.Dir, "err", cause)
		l.metrics.failed.Set(1)
		l.end(f)
		close(l.failing)
	}
	return l.Err()
}
