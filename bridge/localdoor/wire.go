package localdoor

import (
	"encoding/json"
	"net/url"
	"path/filepath"
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/bridge/deadletter"
	"github.com/isthmus-io/isthmus/bridge/function"
	"github.com/isthmus-io/isthmus/fault"
)

// Socket returns the path of the socket of the process with this data directory.
func Socket(dataDir string) string { return filepath.Join(dataDir, "bridge.sock") }

// Letter is a dead letter as the door tells of it. Event is as functions are given it; absent in lists.
type Letter struct {
	ID     uint64          `json:"id"`
	At     time.Time       `json:"at"`
	Lane   string          `json:"lane"`
	Step   string          `json:"step"`
	Reason string          `json:"reason"`
	Size   int             `json:"size"`
	Device string          `json:"device,omitempty"`
	Event  json.RawMessage `json:"event,omitempty"`
}

func letterOf(l *deadletter.Letter, whole bool) Letter {
	out := Letter{ID: l.ID, At: l.At, Lane: l.Lane, Step: l.Step, Reason: l.Reason, Size: l.Size, Device: l.Event.Device()}
	if whole {
		out.Event = function.JSON(l.Event)
	}
	return out
}

// Letters is a list of them. Total is how many the filter picks, listed or not.
type Letters struct {
	Bridge  string   `json:"bridge"`
	Total   int      `json:"total"`
	Letters []Letter `json:"letters"`
}

// Done is how many letters were replayed or deleted.
type Done struct {
	Bridge  string `json:"bridge"`
	Letters int    `json:"letters"`
}

// Query is a filter as a URL has it.
func query(bridge string, f deadletter.Filter) url.Values {
	v := url.Values{}
	set := func(name, value string, there bool) {
		if there {
			v.Set(name, value)
		}
	}
	set("bridge", bridge, bridge != "")
	set("step", f.Step, f.Step != "")
	set("lane", f.Lane, f.Lane != "")
	set("first", strconv.FormatUint(f.First, 10), f.First > 0)
	set("last", strconv.FormatUint(f.Last, 10), f.Last > 0)
	set("after", f.After.UTC().Format(time.RFC3339Nano), !f.After.IsZero())
	set("before", f.Before.UTC().Format(time.RFC3339Nano), !f.Before.IsZero())
	return v
}

// filter reads what query wrote.
func filter(v url.Values) (f deadletter.Filter, err error) {
	f.Step, f.Lane = v.Get("step"), v.Get("lane")
	for name, into := range map[string]*uint64{"first": &f.First, "last": &f.Last} {
		if s := v.Get(name); s != "" {
			if *into, err = strconv.ParseUint(s, 10, 64); err != nil || *into == 0 {
				return f, fault.Newf("localdoor", fault.Invalid, "%.40q is no number of a dead letter", s).Because(err)
			}
		}
	}
	for name, into := range map[string]*time.Time{"after": &f.After, "before": &f.Before} {
		if s := v.Get(name); s != "" {
			if *into, err = time.Parse(time.RFC3339Nano, s); err != nil {
				return f, fault.Newf("localdoor", fault.Invalid, "%.40q is no time", s).Because(err)
			}
		}
	}
	return f, nil
}
