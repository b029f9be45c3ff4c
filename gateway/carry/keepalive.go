package carry

import "time"

// A peer that is gone without a word is found out within two minutes.
const (
	keepIdle     = time.Minute
	keepInterval = 15 * time.Second
	keepCount    = 4
)
