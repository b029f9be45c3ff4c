package gate

import (
	"time"

	"github.com/isthmus-io/isthmus/throttle"
)

// SetElapsed makes the gate's own time go by another clock than the one that tells the time of day.
func (g *Gate) SetElapsed(f func() time.Duration) { g.elapsed = f }

// Unhurried lets people begin as many sessions as they like.
func (g *Gate) Unhurried() {
	g.begun = throttle.New[string](throttle.Config{Burst: 1 << 30, Every: 1}, g.clk)
}
