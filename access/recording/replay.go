package recording

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/isthmus-io/isthmus/clock"
	"github.com/isthmus-io/isthmus/fault"
)

// Options say how a recording is played.
type Options struct {
	Speed    float64       // 2 is twice as fast; 0 means 1
	MaxPause time.Duration // longer silences become this long, after Speed; 0: as long as they were
	Raw      bool          // everything at once, without waiting
	Terminal int           // which of the recording's terminals; 0 means the first
	Markers  bool          // print markers, each on a line of its own in brackets
}

// Replay plays an asciicast on a terminal: what was shown, through a Filter, with the timing it had. However it ends, the terminal is given
// back as it was found. It returns nil at the end of the recording, ctx's error when that ended before, out's, or what is wrong with the
// recording. A Speed below 0 is Invalid.
func Replay(ctx context.Context, r io.Reader, out io.Writer, opt Options, clk clock.Clock) (err error) {
	const op = "recording.Replay"
	if opt.Speed == 0 {
		opt.Speed = 1
	}
	if !(opt.Speed > 0) || math.IsInf(opt.Speed, 1) || opt.MaxPause < 0 || opt.Terminal < 0 {
		return fault.New(op, fault.Invalid, "the speed, the longest pause or the terminal is below zero").Advise("leave them out, or give a speed such as 2")
	}
	opt.Terminal = max(opt.Terminal, 1)
	events, err := NewEvents(r)
	if err != nil {
		return fault.Wrap(op, fault.Internal, err, "")
	}
	screen := NewFilter(out)
	defer func() {
		if e := screen.Reset(); err == nil {
			err = e
		}
	}()
	last := time.Duration(0)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		e, err := events.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		var text string
		switch {
		case e.Kind == Shown && e.Terminal == opt.Terminal:
			text = e.Data
		case e.Kind == Marker && opt.Markers:
			text = fmt.Sprintf("\r\n[%s]\r\n", printable(e.Data, maxMark))
		default:
			continue
		}
		if err := opt.wait(ctx, e.At-last, clk); err != nil {
			return err
		}
		last = e.At
		if _, err := io.WriteString(screen, text); err != nil {
			return err
		}
	}
}

// wait lets a silence pass.
func (o Options) wait(ctx context.Context, silence time.Duration, clk clock.Clock) error {
	if o.Raw {
		return nil
	}
	// A speed of almost nothing makes more of a year than a Duration holds.
	silence = time.Duration(math.Min(float64(silence)/o.Speed, math.MaxInt64/2))
	if o.MaxPause > 0 {
		silence = min(silence, o.MaxPause)
	}
	if silence <= 0 {
		return nil
	}
	fired, stop := clk.After(silence)
	defer stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-fired:
		return nil
	}
}
