package flow

import (
	"github.com/isthmus-io/isthmus/clock"
)

// Limits where nobody says otherwise.
const (
	DefaultMaxFlows = 16384 // of one listener, or of one approved link
)

type options struct {
	maxFlows int
	clk      clock.Clock
}

// Option changes what NewEndpoints or NewServices would do by default.
type Option func(*options)

// WithMaxFlows bounds the open flows of each listener, or of each approved link on the provider's side.
func WithMaxFlows(n int) Option { return func(o *options) { o.maxFlows = n } }

// WithClock sets the clock by which Endpoints retry. Services are given theirs.
func WithClock(c clock.Clock) Option { return func(o *options) { o.clk = c } }

func apply(list []Option) options {
	o := options{maxFlows: DefaultMaxFlows, clk: clock.System{}}
	for _, f := range list {
		f(&o)
	}
	return o
}
