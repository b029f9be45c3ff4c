package transport

import "time"

// Config bounds a transport. The zero value works: every field left at zero means the default named beside it.
type Config struct {
	Direct              string // host:port to listen on for tunnels that need no relay; empty: none
	ProxyURL            string // HTTP proxy for connections to relays, see DialProxy
	ProxyFromEnv        bool   // honour HTTPS_PROXY and NO_PROXY when ProxyURL is empty
	MaxTunnelsPerPeer   int    // dialled to one peer, 2
	SpreadStreams       int    // a tunnel with this many streams makes a further one worth its while, 8
	MaxInbound          int    // tunnels accepted, in all, 4096
	MaxInboundPerPeer   int    // tunnels accepted from one agent, 16
	MaxInboundPerPerson int    // tunnels accepted from one person, by all passes together, 64
	MaxStreams          int    // streams in one tunnel, 65536
	MaxMemory           int64  // received and unread bytes of one tunnel, 128 MiB
	MaxInboundMemory    int64  // the same of all tunnels accepted, in equal parts of at least 1 MiB, 1 GiB

	DirectTimeout    time.Duration // to reach a peer directly before the relays are tried, 2 s
	DirectRetry      time.Duration // a direct address that fails again and again is not tried again for, 30 s; at first for 1 s
	OpenTimeout      time.Duration // to make a tunnel, whichever way, 12 s
	RelayWait        time.Duration // Open waits this long for a relay to come back, 5 s
	HandshakeTimeout time.Duration // for one TLS handshake, 10 s
	FailureMemory    time.Duration // a peer that could not be reached is not tried again for, 1 s
	PingInterval     time.Duration // between signs of life on signalling and tunnels, 15 s
	Doubt            time.Duration // a flow's wait for its provider after which the tunnel is doubted, 1 s
	DoubtTimeout     time.Duration // a tunnel that is doubted gives no sign of life for, before it is given up, 3 s
	SilenceTimeout   time.Duration // a signalling connection without any frame is dead after, 45 s
	IdleTimeout      time.Duration // a dialled tunnel without streams is closed after, 10 min
}

func (c Config) withDefaults() Config {
	number := func(v *int, d int) {
		if *v <= 0 {
			*v = d
		}
	}
	span := func(v *time.Duration, d time.Duration) {
		if *v <= 0 {
			*v = d
		}
	}
	number(&c.MaxTunnelsPerPeer, 2)
	number(&c.SpreadStreams, 8)
	number(&c.MaxInbound, 4096)
	number(&c.MaxInboundPerPeer, 16)
	number(&c.MaxInboundPerPerson, 64)
	number(&c.MaxStreams, 65536)
	if c.MaxMemory <= 0 {
		c.MaxMemory = 128 << 20
	}
	if c.MaxInboundMemory <= 0 {
		c.MaxInboundMemory = 1 << 30
	}
	span(&c.DirectTimeout, 2*time.Second)
	span(&c.DirectRetry, 30*time.Second)
	span(&c.OpenTimeout, 12*time.Second)
	span(&c.RelayWait, 5*time.Second)
	span(&c.HandshakeTimeout, 10*time.Second)
	span(&c.FailureMemory, time.Second)
	span(&c.PingInterval, 15*time.Second)
	span(&c.Doubt, time.Second)
	span(&c.DoubtTimeout, 3*time.Second)
	span(&c.SilenceTimeout, 45*time.Second)
	span(&c.IdleTimeout, 10*time.Minute)
	return c
}
