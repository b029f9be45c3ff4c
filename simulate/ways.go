package simulate

import (
	"sync"

	"github.com/isthmus-io/isthmus/simulate/connection"
)

// ways are those to hubs whose names come up while devices register. They differ in nothing but the name.
type ways struct {
	cfg connection.Config

	mu    sync.Mutex // guards the field below
	known map[string]*connection.Way
}

func newWays(cfg connection.Config) *ways {
	return &ways{cfg: cfg, known: map[string]*connection.Way{}}
}

func (w *ways) to(host string) *connection.Way {
	w.mu.Lock()
	defer w.mu.Unlock()
	way := w.known[host]
	if way == nil {
		cfg := w.cfg
		cfg.Host = host
		way = connection.New(cfg)
		w.known[host] = way
	}
	return way
}
