package engine

// What a peer may make a connection hold that is restrained.
const (
	strangersHeld     = 160 << 10 // bytes of messages: two requests of the largest size, and small ones
	strangersAttaches = 256 << 10 // bytes
	strangersLinks    = 256
	strangersReplies  = 64 << 10 // bytes that wait to be written
)

// Restrain bounds what the peer may make the connection hold to what somebody needs in order to prove who he is: for as long as he has not.
// A connection is not restrained at first, and not any more after Restrain(false). What it holds already stays.
func (c *Conn) Restrain(yes bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.restrained = yes
	c.room.Broadcast()
}

func (c *Conn) bound(most, strangers int) int {
	if c.restrained {
		return min(most, strangers)
	}
	return most
}
