package flow

import (
	"log/slog"
	"sync"
	"time"
)

// complaintsPerSecond is how many lines a second peers can make us write. What is beyond is counted.
const complaintsPerSecond = 10

// complaints writes warnings that peers cause, each one line, without letting a peer in a loop fill the disk.
type complaints struct {
	mu         sync.Mutex // guards the fields below
	second     int64
	lines      int
	suppressed int
}

func (c *complaints) warn(now time.Time, log *slog.Logger, message string, args ...any) {
	c.mu.Lock()
	if s := now.Unix(); s != c.second {
		c.second, c.lines = s, 0
	}
	c.lines++
	if c.lines > complaintsPerSecond {
		c.suppressed++
		c.mu.Unlock()
		return
	}
	unseen := c.suppressed
	c.suppressed = 0
	c.mu.Unlock()
	if unseen > 0 {
		args = append(args, "unseen", unseen)
	}
	log.Warn(message, args...)
}
