package membership

import (
	"context"
	"slices"
	"time"
)

// reports says how the member is when it connects, when something changed, and every minute; every few seconds while it carries bridges, whose
// silence is told from their standing still by that. While the plan is not followed nothing is sent: the stream's back-off rules over both.
func (m *Member) reports(ctx context.Context) error {
	var last Report
	var due time.Time
	soon := false
	for {
		m.saveWhatIsNew()
		if now := m.clock.Now(); m.Connected() {
			r := m.describe()
			if soon || !now.Before(due) || len(r.Bridges) > 0 || !r.equal(last) {
				if err := m.caller.call(ctx, "/member/v1/report", r, nil); err != nil {
					m.log.Debug("a report did not arrive", "error", err)
					r = Report{} // so that it is sent again
				}
				last, due = r, now.Add(reportEvery)
			}
			soon = false
		}
		look, stop := m.clock.After(reportLook)
		select {
		case <-look:
		case <-m.poke:
			soon = true
		case <-ctx.Done():
			stop()
			return ctx.Err()
		}
		stop()
	}
}

func (m *Member) describe() Report {
	m.mu.Lock()
	fn, revision := m.report, m.plan.Revision
	own := make([]string, 0, len(m.problems))
	for _, p := range m.problems {
		own = append(own, p)
	}
	m.mu.Unlock()
	slices.Sort(own)
	var r Report
	if fn != nil {
		r = fn()
	}
	if r.Version == "" {
		r.Version = m.cfg.Version
	}
	if r.PlanRevision == "" {
		r.PlanRevision = revision
	}
	r.Problems = slices.Concat(own, r.Problems)
	return r
}

func (r Report) equal(o Report) bool {
	return r.Version == o.Version && r.Direct == o.Direct && r.PlanRevision == o.PlanRevision && slices.Equal(r.Problems, o.Problems) &&
		slices.Equal(r.DNSAddresses, o.DNSAddresses) && len(r.Bridges) == len(o.Bridges)
}
