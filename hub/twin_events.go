package hub

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/isthmus-io/isthmus/hub/twin"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// maxModelID bounds what a device may say of its model (DTDL: digital twin model identifier).
const maxModelID = 2048

// event sends one of the hub's own events on its way, with what IoT Hub adds to all of them (IoT Hub: non-telemetry event schemas).
func (h *Hub) event(source Source, operation string, n Name, at time.Time, body []byte) {
	system := map[string]string{CorrelationID: randomText(9), UserID: hubLabel(h.HostName())}
	properties := map[string]string{"opType": operation, "operationTimestamp": at.UTC().Format("2006-01-02T15:04:05.0000000Z")}
	if source == DeviceLifecycleEvents && n.IsModule() { // the same source of a route, and names of their own (IoT Hub: module lifecycle notifications)
		system[stampSource], properties[MessageSchema] = "moduleLifecycleEvents", "moduleLifecycleNotification"
	}
	h.Emit(source, n, body, system, properties)
}

// twinEvent tells routes of a durable change of a twin.
func (h *Hub) twinEvent(n Name, c twin.Change, after hubstore.Twin, now time.Time) {
	h.twinMoved(n)
	if !h.routed(TwinChangeEvents) {
		return
	}
	if !c.Replaces() {
		h.event(TwinChangeEvents, "updateTwin", n, now, c.Event(after.Document, now))
		return
	}
	if body, ok := h.wholeTwin(n, after.Document); ok {
		h.event(TwinChangeEvents, "replaceTwin", n, now, body)
	}
}

// wholeTwin is the body of events that tell of a whole twin.
func (h *Hub) wholeTwin(n Name, d twin.Document) ([]byte, bool) {
	head, err := json.Marshal(struct {
		DeviceID string `json:"deviceId"`
		ModuleID string `json:"moduleId,omitempty"`
		ETag     string `json:"etag"`
	}{n.Device, n.Module, d.ETag()})
	if err == nil {
		head, err = d.AppendJSON(append(head[:len(head)-1], ','))
	}
	if err != nil {
		h.server.log.Error("hub: an event is lost, for its twin cannot be read", "hub", h.Name(), "device", n.String(), "err", err)
	}
	return append(head, '}'), err == nil
}

// step is a change of the registry with the twin as it is in the transaction, if anybody wants to know.
func (h *Hub) step(tx *hubstore.Tx, m Mode, d hubstore.Device) change {
	c := change{mode: m, d: d, twin: twin.New()}
	if h.routed(DeviceLifecycleEvents) {
		if t, err := tx.Twin(h.id, d.Name()); err == nil {
			c.twin = t.Document
		}
	}
	return c
}

// identityCreated tells routes of a new identity.
func (h *Hub) identityCreated(d hubstore.Device, t twin.Document) {
	h.lifecycle("create", d.Name(), t)
}

// identityDeleted tells routes of an identity that is gone.
func (h *Hub) identityDeleted(d hubstore.Device, t twin.Document) {
	h.lifecycle("delete", d.Name(), t)
}

func (h *Hub) lifecycle(operation string, n Name, t twin.Document) {
	h.twinMoved(n)
	if !h.routed(DeviceLifecycleEvents) {
		return
	}
	kind := "DeviceIdentity"
	if n.IsModule() {
		kind = "ModuleIdentity"
	}
	if body, ok := h.wholeTwin(n, t); ok {
		h.event(DeviceLifecycleEvents, operation+kind, n, h.server.clock.Now(), body)
	}
}

// connected tells routes of a session that began, and writes down which model the device says it is of.
func (h *Hub) connected(s *Session) {
	h.connectionState("deviceConnected", s.Name())
	switch n := s.Name(); {
	case s.ModelID == "":
	case len(s.ModelID) > maxModelID:
		h.server.log.Warn("hub: the id of a device's model is too long and not kept", "hub", h.Name(), "device", n.String(), "bytes", len(s.ModelID), "allowed", maxModelID)
	default:
		h.server.store.Submit(context.Background(), func(tx *hubstore.Tx) error { return tx.SetModel(h.id, n, s.ModelID) }, func(err error) {
			if err != nil {
				h.server.log.Warn("hub: the id of a device's model is not kept", "hub", h.Name(), "device", n.String(), "err", err)
			}
		})
	}
}

// disconnected tells routes of a session that ended.
func (h *Hub) disconnected(s *Session) { h.connectionState("deviceDisconnected", s.Name()) }

// connectionState gives each event a higher number than all before it, of this process and of those before it: time never stands in the
// way, since a counter goes on where a clock does not.
func (h *Hub) connectionState(operation string, n Name) {
	if !h.routed(DeviceConnectionStateEvents) {
		return
	}
	now := h.server.clock.Now()
	var next int64
	for {
		last := h.eventKeys.Load()
		next = max(last+1, now.UnixNano())
		if h.eventKeys.CompareAndSwap(last, next) {
			break
		}
	}
	h.event(DeviceConnectionStateEvents, operation, n, now, fmt.Appendf(nil, `{"sequenceNumber":"%064X"}`, next))
}
