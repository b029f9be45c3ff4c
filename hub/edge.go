package hub

import (
	"strconv"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// The modules every edge device has (IoT Edge: the runtime).
const (
	EdgeAgent = "$edgeAgent"
	EdgeHub   = "$edgeHub"
)

// ticksAtEpoch is 1 January 1970 in the unit of .NET: 100 ns since the year 1. Edge scopes count in it.
const ticksAtEpoch = 621_355_968_000_000_000

// begin gives a new identity what only a hub can: its generation, which tells it from a later one of the same name (IoT Hub: generationId),
// and its etag.
func (h *Hub) begin(d *hubstore.Device) {
	d.Created = h.server.clock.Now()
	d.Generation, d.ETag = strconv.FormatInt(d.Created.UnixNano(), 10), newETag()
}

// edgeScope is the scope of an edge device: others name it as their deviceScope or parent.
func (h *Hub) edgeScope(d hubstore.Device) string {
	return "ms-azure-iot-edge://" + d.ID + "-" + strconv.FormatInt(ticksAtEpoch+d.Created.UnixNano()/int64(100*time.Nanosecond), 10)
}

// edgeModules makes the runtime's modules of an edge device unless they are there, and takes them from one that is none any more.
func (h *Hub) edgeModules(tx *hubstore.Tx, d hubstore.Device) ([]change, error) {
	if d.Module != "" {
		return nil, nil
	}
	var steps []change
	for _, id := range []string{EdgeAgent, EdgeHub} {
		old, err := tx.Device(h.id, Name{Device: d.ID, Module: id})
		there := err == nil
		if err != nil && fault.KindOf(err) != fault.NotFound {
			return nil, err
		}
		switch {
		case d.Edge && !there:
			m := hubstore.Device{Hub: h.id, ID: d.ID, Module: id, Status: hubstore.Enabled, AuthType: AuthSAS, PrimaryKey: newKey(), SecondaryKey: newKey()}
			h.begin(&m)
			if err := tx.Insert(m); err != nil {
				return nil, err
			}
			steps = append(steps, h.step(tx, Create, m))
		case !d.Edge && there:
			steps = append(steps, h.step(tx, Delete, old))
			if err := tx.Delete(h.id, old.Name()); err != nil {
				return nil, err
			}
		}
	}
	return steps, nil
}
