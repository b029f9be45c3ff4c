package engine

import "time"

// Config bounds what one connection may cost. Its zero value works; the defaults stand beside the fields.
type Config struct {
	ContainerID       string        // as our open tells it: "isthmus"
	MaxFrame          uint32        // bytes of a frame, in both directions: 65,536; 512 is the least
	ChannelMax        uint16        // highest channel number: 4,999
	MaxSessions       int           // held by one connection at once: 1,024
	HandleMax         uint32        // highest handle of a session: 255
	MaxLinks          int           // of one connection at once: 16,384
	Window            uint32        // transfer frames a session may have on their way to us: 5,000
	IdleTimeout       time.Duration // told to the peer, whose silence for so long ends the connection: 4 min
	SetupTimeout      time.Duration // for SASL and open: 60 s
	WriteTimeout      time.Duration // for one write to a peer that does not read: 30 s
	Credit            uint32        // of links the peer sends on, unless Accept says otherwise: 1,000
	MaxMessage        uint64        // bytes of a message the peer sends, unless Accept says otherwise: 1 MiB
	MaxUnsettledBytes int           // of messages being assembled or not settled, of one connection; it is not read beyond: 4 MiB and MaxMessage
	MaxUnsettled      int           // deliveries to a peer it has not settled, of one link; Send waits beyond: 5,000
}

func (c Config) withDefaults() Config {
	if c.ContainerID == "" {
		c.ContainerID = "isthmus"
	}
	if c.MaxFrame == 0 {
		c.MaxFrame = 64 << 10
	}
	c.MaxFrame = max(c.MaxFrame, 512)
	if c.ChannelMax == 0 {
		c.ChannelMax = 4999
	}
	if c.MaxSessions <= 0 {
		c.MaxSessions = 1024
	}
	if c.HandleMax == 0 {
		c.HandleMax = 255
	}
	if c.MaxLinks <= 0 {
		c.MaxLinks = 16384
	}
	if c.Window == 0 {
		c.Window = 5000
	}
	if c.Credit == 0 {
		c.Credit = 1000
	}
	if c.MaxMessage == 0 {
		c.MaxMessage = 1 << 20
	}
	if c.MaxUnsettledBytes <= 0 {
		c.MaxUnsettledBytes = 4<<20 + int(min(c.MaxMessage, 1<<30))
	}
	if c.MaxUnsettled <= 0 {
		c.MaxUnsettled = 5000
	}
	set := func(d *time.Duration, v time.Duration) {
		if *d <= 0 {
			*d = v
		}
	}
	set(&c.IdleTimeout, 4*time.Minute)
	set(&c.SetupTimeout, time.Minute)
	set(&c.WriteTimeout, 30*time.Second)
	return c
}
