package gate

import "time"

// instant is the time as the gate sees it, twice.
type instant struct {
	wall time.Time     // the control plane's clock, as far as it is known; it may jump
	mono time.Duration // since the gate was made; it only goes on
}

// The control plane's clock counts when it differs from ours by more than this: less is the way the question took.
const leastOffset = 2 * time.Second

// anchor is an instant from which a session counts its time.
type anchor instant

// at is the time that it is for the session: by the wall, or by what has gone by since the anchor, whichever is later. So setting the clock
// back prolongs nothing, and setting it forward ends what is over by it.
func (a anchor) at(now instant) time.Time {
	gone := a.wall.Add(now.mono - a.mono)
	if now.wall.After(gone) {
		return now.wall
	}
	return gone
}

// stamp is a time in words for people.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02 15:04 UTC") }
