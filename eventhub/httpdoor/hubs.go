package httpdoor

import (
	"net/http"
	"time"

	"github.com/isthmus-io/isthmus/eventhub"
	"github.com/isthmus-io/isthmus/fault"
)

// Statuses of an event hub.
const (
	active   = "active"
	disabled = "disabled"
)

// hubJSON is an event hub.
type hubJSON struct {
	Name           string          `json:"name"`
	Partitions     int             `json:"partitions"`
	RetentionHours int             `json:"retentionHours"`
	RetentionBytes int64           `json:"retentionBytes,omitempty"`
	Status         string          `json:"status"`
	Declared       bool            `json:"declared"`
	ConsumerGroups int             `json:"consumerGroups"`
	Policies       int             `json:"policies"`
	Created        time.Time       `json:"created"`
	Updated        time.Time       `json:"updated"`
	Ends           []partitionJSON `json:"partitionEnds,omitempty"`
}

// partitionJSON is where a partition stands.
type partitionJSON struct {
	Partition    int        `json:"partition"`
	First        int64      `json:"first"` // sequence number of the oldest event kept
	Next         int64      `json:"next"`  // and the one the next event will get
	LastOffset   int64      `json:"lastOffset"`
	LastEnqueued *time.Time `json:"lastEnqueued,omitempty"`
}

func hubOf(h eventhub.EventHub) hubJSON {
	status := active
	if h.Disabled {
		status = disabled
	}
	return hubJSON{
		Name: h.Name, Partitions: h.Partitions, RetentionHours: int(h.Retention / time.Hour), RetentionBytes: h.RetentionBytes, Status: status, Declared: h.Declared,
		ConsumerGroups: h.Groups, Policies: h.Policies, Created: h.Created, Updated: h.Updated,
	}
}

func listEventHubs(x *exchange) error {
	out := []hubJSON{}
	for _, h := range x.namespace.EventHubs() {
		out = append(out, hubOf(h))
	}
	x.write(http.StatusOK, out)
	return nil
}

func describe(x *exchange) error {
	policies, err := x.namespace.Policies("")
	if err != nil {
		return err
	}
	x.write(http.StatusOK, map[string]any{
		"name": x.namespace.Name(), "hostNames": x.namespace.HostNames(), "eventHubs": len(x.namespace.EventHubs()), "policies": policiesOf(policies),
	})
	return nil
}

func showEventHub(x *exchange) error {
	h, err := x.namespace.EventHub(x.args[0])
	if err != nil {
		return err
	}
	ends, err := x.namespace.Info(h.Name)
	if err != nil {
		return err
	}
	out := hubOf(h)
	for i, e := range ends {
		p := partitionJSON{Partition: i, First: e.First, Next: e.Next, LastOffset: e.LastOffset}
		if !e.LastEnqueued.IsZero() {
			p.LastEnqueued = &e.LastEnqueued
		}
		out.Ends = append(out.Ends, p)
	}
	x.write(http.StatusOK, out)
	return nil
}

// settingsJSON is what may be said of an event hub.
type settingsJSON struct {
	Partitions     *int    `json:"partitions"`
	RetentionHours *int    `json:"retentionHours"`
	RetentionBytes *int64  `json:"retentionBytes"`
	Status         *string `json:"status"`
}

// hours is a retention; far too many are as many as can be told, so that the multiplication has room.
func hours(n int) time.Duration { return time.Duration(max(-1, min(n, 1<<20))) * time.Hour }

func createEventHub(x *exchange) error {
	var in settingsJSON
	if err := x.decode(&in); err != nil {
		return err
	}
	var s eventhub.Settings
	if in.Partitions != nil {
		if s.Partitions = *in.Partitions; s.Partitions == 0 {
			s.Partitions = -1 // which is refused: only leaving it out means the default
		}
	}
	if in.RetentionHours != nil {
		if s.Retention = hours(*in.RetentionHours); s.Retention == 0 {
			s.Retention = -1
		}
	}
	if in.RetentionBytes != nil {
		s.RetentionBytes = *in.RetentionBytes
	}
	if in.Status != nil && *in.Status != active {
		return fault.New("httpdoor.createEventHub", fault.Invalid, "an event hub begins active").Advise("disable it afterwards")
	}
	h, err := x.namespace.CreateEventHub(x.Context(), x.args[0], s)
	if err != nil {
		return err
	}
	x.write(http.StatusCreated, hubOf(h))
	return nil
}

func changeEventHub(x *exchange) error {
	op := "httpdoor.changeEventHub"
	var in settingsJSON
	if err := x.decode(&in); err != nil {
		return err
	}
	c := eventhub.Change{RetentionBytes: in.RetentionBytes}
	if in.Partitions != nil {
		if h, err := x.namespace.EventHub(x.args[0]); err != nil {
			return err
		} else if h.Partitions != *in.Partitions {
			return fault.Newf(op, fault.Conflict, "the event hub %s has %d partitions, which cannot change: that of every key would", h.Name, h.Partitions).
				Advise("make another event hub")
		}
	}
	if in.RetentionHours != nil {
		age := hours(*in.RetentionHours)
		c.Retention = &age
	}
	if in.Status != nil {
		off := *in.Status == disabled
		if !off && *in.Status != active {
			return fault.Newf(op, fault.Invalid, "%.20q is no status", *in.Status).Advise("write %s or %s", active, disabled)
		}
		c.Disabled = &off
	}
	h, err := x.namespace.ChangeEventHub(x.Context(), x.args[0], c)
	if err != nil {
		return err
	}
	x.write(http.StatusOK, hubOf(h))
	return nil
}

func deleteEventHub(x *exchange) error {
	if err := x.namespace.DeleteEventHub(x.Context(), x.args[0]); err != nil {
		return err
	}
	x.w.WriteHeader(http.StatusNoContent)
	return nil
}
