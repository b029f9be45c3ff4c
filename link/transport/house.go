package transport

import (
	"context"
	"time"
)

// keepHouse looks after tunnels and peers until ctx ends: it retires tunnels whose certificates lapsed, closes those that are
// retired or long idle once they carry nothing, and forgets peers nobody has wanted for a while.
func (tr *Transport) keepHouse(ctx context.Context) {
	for {
		fired, stop := tr.clk.After(houseInterval)
		select {
		case <-fired:
			tr.tidy(tr.clk.Now())
		case <-ctx.Done():
			stop()
			return
		}
	}
}

const houseInterval = 5 * time.Second

func (tr *Transport) tidy(now time.Time) {
	tr.mu.Lock()
	passages := make([]*passage, 0, len(tr.passages))
	for p := range tr.passages {
		passages = append(passages, p)
	}
	peers := make([]*peer, 0, len(tr.peers))
	for _, p := range tr.peers {
		peers = append(peers, p)
	}
	tr.mu.Unlock()
	for _, p := range passages {
		p.tidy(now, tr.cfg.IdleTimeout)
	}
	for _, p := range peers {
		if !p.forgettable(now) {
			continue
		}
		tr.mu.Lock()
		if now.UnixNano()-p.used.Load() > int64(time.Minute) { // not wanted again since we looked
			delete(tr.peers, p.id)
		}
		tr.mu.Unlock()
	}
}

func (p *passage) tidy(now time.Time, idle time.Duration) {
	if !now.Before(p.expires) {
		p.retire()
	}
	if p.session.Streams() > 0 {
		p.idleSince = time.Time{}
		return
	}
	if p.idleSince.IsZero() {
		p.idleSince = now
		return // a stream may be about to be opened on it
	}
	switch {
	case !p.usable(): // retired here or by the peer
		_ = p.session.Close()
	case p.dialled && now.Sub(p.idleSince) >= idle:
		p.retire()
	}
}
