package control

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/identity"
	"github.com/isthmus-io/isthmus/resource"
	"github.com/isthmus-io/isthmus/store"
)

// carried is what processes said last of the bridges they carry. It is written down now and then: a report decides nothing.
type carried struct {
	mu    sync.Mutex          // guards heard and what it leads to
	heard map[string]*hearing // by the bridge's uid
}

// hearing is a report from the process that carried the bridge then.
type hearing struct {
	agent      string
	assignment int64
	at         time.Time
	status     resource.BridgeStatus
	unkept     bool // it says more than what is written down
}

const (
	maxBridgesHeard = 200 // of one process
	maxPartitions   = 1024
	maxStepErrors   = resource.MaxBridgeSteps + 12
	maxStepName     = 80

	keepCarriedEvery = 10 * time.Second
	silentAfter      = 30 * time.Second
)

// hear notes reports about bridges that the process carries now; what it says of any other is passed over. a is nil for a relay.
func (c *Control) hear(a *resource.Agent, reports []BridgeReport) {
	if a == nil || len(reports) == 0 {
		return
	}
	now := c.clock.Now().UTC()
	c.mu.RLock()
	defer c.mu.RUnlock()
	for _, r := range reports[:min(len(reports), maxBridgesHeard)] {
		b := c.world.bridges[r.ID]
		if b == nil || !c.world.carriedBy(b, a) || r.Status.Assignment != 0 && r.Status.Assignment != b.Status.Assignment {
			continue
		}
		c.carried.hear(b, trimmed(r.Status), now)
	}
}

func (c *carried) hear(b *resource.Bridge, st resource.BridgeStatus, now time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.heard[b.Metadata.UID] = &hearing{agent: b.Status.Agent, assignment: b.Status.Assignment, at: now, status: st, unkept: true}
}

// trimmed bounds what is kept of a report and takes out what the control plane says itself.
func trimmed(st resource.BridgeStatus) resource.BridgeStatus {
	text := func(s string, n int) string {
		return strings.ReplaceAll(cut(strings.ToValidUTF8(s, "?"), n), "\x00", "?")
	}
	st.Agent, st.Assignment, st.Identity, st.ReportedAt = "", 0, "", time.Time{}
	st.Why, st.Step = text(st.Why, maxProblemLength), text(st.Step, maxStepName)
	switch st.State {
	case resource.BridgeRunning, resource.BridgeWaiting, resource.BridgePaused, resource.BridgeFailed:
	default:
		st.State = resource.BridgeWaiting
	}
	parts := make([]resource.BridgePartition, min(len(st.Partitions), maxPartitions))
	copy(parts, st.Partitions)
	for i := range parts {
		parts[i].Partition = text(parts[i].Partition, maxStepName)
	}
	st.Partitions = parts
	wrong := make([]resource.BridgeError, min(len(st.RecentErrors), maxStepErrors))
	copy(wrong, st.RecentErrors)
	for i := range wrong {
		wrong[i].Step, wrong[i].Words = text(wrong[i].Step, maxStepName), text(wrong[i].Words, maxProblemLength)
	}
	st.RecentErrors = wrong
	return st
}

// over puts what was heard over a status, if it is later and of the same process. It tells whether it was.
func (c *carried) over(b *resource.Bridge, st *resource.BridgeStatus) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.heard[b.Metadata.UID]
	if h == nil || h.agent != b.Status.Agent || h.assignment != b.Status.Assignment || h.at.Before(st.ReportedAt) {
		return false
	}
	agent, assignment := st.Agent, st.Assignment
	*st = h.status
	st.Agent, st.Assignment, st.ReportedAt = agent, assignment, h.at
	return true
}

// keepCarried writes down what was heard, every ten seconds and at the end.
func (c *Control) keepCarried(ctx context.Context) {
	for {
		fired, stop := c.clock.After(keepCarriedEvery)
		select {
		case <-ctx.Done():
			stop()
			late, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
			defer cancel()
			c.keepHeard(late)
			return
		case <-fired:
			c.keepHeard(ctx)
		}
	}
}

func (c *Control) keepHeard(ctx context.Context) {
	c.carried.mu.Lock()
	var unkept []string
	for uid, h := range c.carried.heard {
		if h.unkept {
			unkept = append(unkept, uid)
			h.unkept = false
		}
	}
	c.carried.mu.Unlock()
	if len(unkept) == 0 {
		return
	}
	// Control.writing is held, so that nobody replaces a status between reading and writing it.
	c.writing.Lock()
	defer c.writing.Unlock()
	err := c.store.Update(ctx, func(tx *store.Tx) error {
		for _, uid := range unkept {
			o, err := tx.ByUID(uid)
			if fault.KindOf(err) == fault.NotFound && err != nil {
				c.carried.forget(uid)
				continue
			}
			if err != nil {
				return err
			}
			b := o.(*resource.Bridge)
			before := b.Status
			if !c.carried.over(b, &b.Status) || !c.store.Shared() && standsStill(before, b.Status) {
				continue
			}
			if err := tx.PutStatus(b); err != nil {
				return err
			}
		}
		return nil
	})
	if err == nil {
		return
	}
	c.log.Warn("control: reports about bridges could not be written down", "error", err)
	c.carried.mu.Lock()
	defer c.carried.mu.Unlock()
	for _, uid := range unkept {
		if h := c.carried.heard[uid]; h != nil {
			h.unkept = true
		}
	}
}

func (c *carried) forget(uid string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.heard, uid)
}

// standsStill tells whether nothing but times and rates differ.
func standsStill(a, b resource.BridgeStatus) bool {
	a.ReportedAt, a.EventsPerSec, a.Lag, a.OldestUnsent = b.ReportedAt, b.EventsPerSec, b.Lag, b.OldestUnsent
	return reflect.DeepEqual(a, b)
}

// refreshKnown puts what is known of the bridges a process carries into the world as it begins to follow its plan: it may have lost its own
// account of where they stand. Later plans say the same, so that reports make no new ones.
func (c *Control) refreshKnown(ctx context.Context, id identity.ID) {
	c.mu.RLock()
	none := len(c.world.carriedTo(id)) == 0
	c.mu.RUnlock()
	if none { // as with nearly everybody: they need not wait for who writes
		return
	}
	c.writing.Lock()
	defer c.writing.Unlock()
	mine := c.world.carriedTo(id) // writing is held, so the world stays as it is
	fresh := map[string]resource.BridgeStatus{}
	if err := c.store.View(ctx, func(tx *store.Tx) error {
		for _, b := range mine {
			o, err := tx.ByUID(b.Metadata.UID)
			if fault.KindOf(err) == fault.NotFound && err != nil {
				continue
			}
			if err != nil {
				return err
			}
			fresh[b.Metadata.UID] = o.(*resource.Bridge).Status
		}
		return nil
	}); err != nil {
		c.log.Warn("control: where bridges stand could not be read", "error", err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, b := range mine {
		st, ok := fresh[b.Metadata.UID]
		if !ok || st.Agent != b.Status.Agent || st.Assignment != b.Status.Assignment {
			continue
		}
		c.carried.over(b, &st)
		after := *b
		after.Status = st
		c.world.applyBridging(change{before: b, after: &after})
	}
}

// fillBridge is what can be said of a bridge now: what its process said last, unless something else keeps it from running.
func (c *Control) fillBridge(w *world, b *resource.Bridge) {
	st := &b.Status
	c.carried.over(b, st)
	st.Identity = c.compiler.bridgeID(b)
	wait := func(step, format string, args ...any) {
		st.State, st.Step, st.Why = resource.BridgeWaiting, step, fmt.Sprintf(format, args...)
	}
	problem, step := c.compiler.trouble(b, worldLook{w, w.at(placeOf(b))})
	now := c.clock.Now()
	silent := !st.ReportedAt.IsZero() && now.Sub(st.ReportedAt) > silentAfter
	if silent {
		st.EventsPerSec = 0
	}
	switch {
	case st.Agent == "":
		wait("", "%s", nobodyCarriesBridge(b))
	case problem != "":
		wait(step, "%s", problem)
	case b.Spec.Paused:
		st.State, st.Step, st.Why = resource.BridgePaused, "", ""
	case st.ReportedAt.IsZero():
		wait("", "the process %s has not told of it yet: see that it runs and reaches the control plane", st.Agent)
	case silent:
		wait("", "the process %s was not heard of since %s: see that it runs and reaches the control plane", st.Agent, st.ReportedAt.UTC().Format(time.RFC3339))
	}
}

func nobodyCarriesBridge(b *resource.Bridge) string {
	if b.Spec.Agent != "" {
		return fmt.Sprintf("no process carries it: none called %s has joined the network %s as a bridge", b.Spec.Agent, b.Metadata.Network)
	}
	return fmt.Sprintf("no process carries it: none has joined the network %s as a bridge yet", b.Metadata.Network)
}
