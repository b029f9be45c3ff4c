package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/limit"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// limitsSetting is the name of what an administrator set, as the JSON of limit.Limits with the classes that differ from the server's.
const limitsSetting = "limits"

// tenantOf is the first segment of a hub's name: ot/ot-cloud/contoso is of tenant ot.
func tenantOf(name string) string {
	tenant, _, _ := strings.Cut(name, "/")
	return tenant
}

// openLimits makes the hub's allowances with what an administrator set.
func (h *Hub) openLimits(ctx context.Context, name string) error {
	l := h.server.cfg.Limits
	set, err := h.server.store.Setting(ctx, h.id, limitsSetting)
	if err != nil {
		return err
	}
	if set != nil {
		err = json.Unmarshal(set, &l)
		if err == nil {
			err = l.Check()
		}
		if err != nil { // written by a program that knew other classes; the hub must not stay away for it
			h.server.log.Warn("hub: the limits that were set cannot be read; those of the server hold", "hub", name, "err", err)
			l = h.server.cfg.Limits
		}
	}
	h.limits = h.server.limiter.Hub(tenantOf(name), l)
	return nil
}

// Limits returns how much each device and the whole hub may do.
func (h *Hub) Limits() limit.Limits { return h.limits.Limits() }

// TenantLimits returns how much all hubs of a tenant may do together in this process.
func (h *Hub) TenantLimits() limit.Rates { return h.server.cfg.Tenant }

// SetLimits changes the limits of the classes that are named in the text, {"device":{"messages":{"perSecond":5,"burst":10}},"hub":{..}},
// for good; null puts back all that were changed before. Invalid when they make no sense. by is who asked, for the log.
func (h *Hub) SetLimits(ctx context.Context, text []byte, by string) (limit.Limits, error) {
	op := "hub.SetLimits"
	h.settling.Lock()
	defer h.settling.Unlock()
	l, value := h.Limits(), []byte(nil)
	if strings.TrimSpace(string(text)) == "null" {
		l = h.server.cfg.Limits
	} else {
		if err := json.Unmarshal(text, &l); err != nil {
			return limit.Limits{}, fault.Newf(op, fault.Invalid, "the limits cannot be read: %v", err).Advise("write them as GET shows them; classes are %s", classNames())
		}
		if err := l.Check(); err != nil {
			return limit.Limits{}, err
		}
		value, _ = json.Marshal(explicit(l)) // numbers always can be
	}
	if err := h.server.store.Write(ctx, func(tx *hubstore.Tx) error { return tx.SetSetting(h.id, limitsSetting, value) }); err != nil {
		return limit.Limits{}, err
	}
	h.limits.Set(l)
	h.server.log.Info("hub: limits set", "hub", h.Name(), "by", by, "limits", string(value))
	return l, nil
}

// explicit writes every class, so that "no limit" is not read as "as the server has it".
func explicit(l limit.Limits) map[string]map[string]limit.Rate {
	out := map[string]map[string]limit.Rate{"device": {}, "hub": {}}
	for _, c := range limit.Classes() {
		out["device"][c.String()], out["hub"][c.String()] = l.Device[c], l.Hub[c]
	}
	return out
}

func classNames() string {
	var names []string
	for _, c := range limit.Classes() {
		names = append(names, c.String())
	}
	return strings.Join(names, ", ")
}

// Admit asks whether cost units of a class may be had now: for a device or a module, or, with the zero Name, for nobody in particular.
// What is refused is not counted. The error has code 429001 and says whose allowance is used up; wait is how long it is until the same
// would be admitted, for doors that can hold the reader back instead of refusing.
func (h *Hub) Admit(c limit.Class, n Name, cost int) (wait time.Duration, err error) {
	now := h.server.clock.Now()
	var d *limit.Holder
	if n.Device != "" {
		d = h.limits.Holder(n.String(), now)
	}
	v := h.limits.Take(d, c, cost, now)
	if v.Level == limit.None {
		return 0, nil
	}
	return v.Wait, h.throttled(c, n, v)
}

func (h *Hub) throttled(c limit.Class, n Name, v limit.Verdict) error {
	l := h.limits.Limits()
	var whose string
	var rate limit.Rate
	next := "send again in %s; the limits are those of GET /isthmus/v1/limits"
	switch v.Level {
	case limit.Device:
		whose, rate = n.Words()+" has", l.Device[c]
	case limit.OfHub:
		whose, rate = "all devices of the hub together have", l.Hub[c]
	case limit.Tenant:
		whose, rate = "all hubs of tenant "+tenantOf(h.Name())+" together have", h.server.cfg.Tenant[c]
	case limit.None:
	}
	err := fault.Newf("hub.Admit", fault.Exhausted, "%s used up what is allowed of %s: %s a second, %s at once", whose, c.Words(), number(rate.PerSecond), number(rate.Burst)).
		Advise(next, max(v.Wait, time.Millisecond).Round(time.Millisecond))
	return code.With(err, code.Throttled)
}

func number(x float64) string { return fmt.Sprintf("%.6g", x) }

// meter is how many units a message costs (IoT Hub: quotas and throttling, 4 KiB a unit).
func meter(body int) int { return 1 + max(0, body-1)/4096 }

// Await waits until the session may have cost units of a class: for doors that can hold the reader back instead of refusing. It is false
// when the session is over before that.
func (s *Session) Await(c limit.Class, cost int) bool {
	v := s.hub.limits.Take(s.allowance, c, cost, s.hub.server.clock.Now())
	return v.Level == limit.None || s.overrun(c, cost, v)
}

// overrun is called when a device wants more than it may: the reader of its connection waits, and with it the device, which finds its
// socket full. It returns when the cost is within the allowance, or with false when the session is over.
func (s *Session) overrun(c limit.Class, cost int, v limit.Verdict) bool {
	h := s.hub
	began := h.server.clock.Now()
	for v.Level != limit.None {
		fired, stop := h.server.clock.After(v.Wait)
		select {
		case <-fired:
			stop()
		case <-s.gone:
			stop()
			return false
		}
		v = h.limits.Take(s.allowance, c, cost, h.server.clock.Now())
	}
	h.limits.Delayed(c, h.server.clock.Now().Sub(began))
	return true
}

// Submit sends a message to the endpoints that the hub's routes say and calls done when it is durable in all of them, or refused; the body
// may be used again when Submit returns. done must not wait and may be called before Submit returns. Submit waits while the event log has
// too much to do, and while the device has sent more than it may.
func (s *Session) Submit(body []byte, l *Labels, done func(eventlog.Position, error)) {
	h := s.hub
	now := h.server.clock.Now()
	s.last.Store(now.UnixNano())
	cost := meter(len(body))
	if v := h.limits.Take(s.allowance, limit.Messages, cost, now); v.Level != limit.None {
		s.overrun(limit.Messages, cost, v)
	}
	h.send(DeviceMessages, s.Name(), body, l, done)
}
