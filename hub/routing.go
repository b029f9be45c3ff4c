package hub

import (
	"context"
	"maps"
	"strings"
	"sync/atomic"

	"github.com/isthmus-io/isthmus/eventlog"
	"github.com/isthmus-io/isthmus/hub/route"
)

// Source is where a message comes from, as routes name it.
type Source = route.Source

// Sources of messages.
const (
	DeviceMessages              = route.DeviceMessages
	TwinChangeEvents            = route.TwinChangeEvents
	DeviceLifecycleEvents       = route.DeviceLifecycleEvents
	DeviceConnectionStateEvents = route.DeviceConnectionStateEvents
	DeviceJobLifecycleEvents    = route.DeviceJobLifecycleEvents
	DigitalTwinChangeEvents     = route.DigitalTwinChangeEvents
)

// routing is a hub's routes while there are any. It is replaced when they change, never changed.
type routing struct {
	table   *route.Table
	streams []string        // by endpoint
	routed  []*atomic.Int64 // messages, by endpoint; the counters outlive the routing
	twins   *twinCache
}

// send brings a message to its endpoints. Without routes that is the built-in one, and costs one load of a pointer.
func (h *Hub) send(source Source, n Name, body []byte, l *Labels, done func(eventlog.Position, error)) {
	r := h.routing.Load()
	if r == nil {
		h.server.events.AppendAsync(h.stream, n.Device, eventlog.Event{Body: body, Properties: l.properties, System: l.system}, done)
		return
	}
	m := route.Message{
		Source: source, Device: n.Device, Module: n.Module, Properties: l.properties, System: l.system, Body: body, Received: h.server.clock.Now(),
	}
	if r.table.AsksForTwins() {
		m.Twin = func() map[string]any { return r.twins.get(h, n) }
	}
	var room [4]route.Delivery
	to := r.table.Match(&m, room[:0])
	if len(to) == 0 {
		h.unrouted.Add(1)
		done(eventlog.Position{}, nil)
		return
	}
	if len(to) > 1 {
		f := &fan{done: done}
		f.left.Store(int32(len(to)))
		done = f.answer
	}
	for _, d := range to {
		r.routed[d.Endpoint].Add(1)
		h.server.events.AppendAsync(r.streams[d.Endpoint], n.Device, eventlog.Event{Body: body, Properties: d.Properties, System: l.system}, done)
	}
}

// fan is a message on its way to several endpoints.
type fan struct {
	left   atomic.Int32
	failed atomic.Pointer[error]
	done   func(eventlog.Position, error)
}

// answer takes the log's word for one of them. The last one tells the sender.
func (f *fan) answer(p eventlog.Position, err error) {
	if err != nil {
		f.failed.CompareAndSwap(nil, &err)
	}
	if f.left.Add(-1) > 0 {
		return
	}
	if first := f.failed.Load(); first != nil {
		err = *first
	}
	f.done(p, err)
}

// schemas say what the body of an event of the hub's own is, unless it says so itself (IoT Hub: non-telemetry events).
var schemas = map[Source]string{
	TwinChangeEvents: "twinChangeNotification", DeviceLifecycleEvents: "deviceLifecycleNotification",
	DeviceConnectionStateEvents: "deviceConnectionStateNotification", DeviceJobLifecycleEvents: "deviceJobLifecycleNotification",
	DigitalTwinChangeEvents: "digitalTwinChangeNotification",
}

// Bounds of the events of all hubs that may wait for the event log. Devices decide how large they are: they are of their twins.
const (
	maxEmitted      = 2048
	maxEmittedBytes = 32 << 20 // of bodies
)

// emitted is an event on its way to the event log.
type emitted struct {
	hub    *Hub
	source Source
	name   Name
	body   []byte
	labels *Labels
}

// Emit sends an event of the hub's own, about an identity, to where the routes say; without a route for its source it is dropped. It does
// not wait, and takes the maps over. The body is JSON unless the system properties say otherwise; the hub adds the stamps that IoT Hub
// documents (iothub-message-source, hubName, deviceId, operationTimestamp and so on) where they are not given. Nobody is told whether it
// became durable: when the event log is so busy that too many wait, it is lost and counted.
func (h *Hub) Emit(source Source, n Name, body []byte, system, properties map[string]string) {
	if !h.routed(source) {
		return
	}
	s := h.server
	if s.emitBytes.Add(int64(len(body))) <= maxEmittedBytes {
		select {
		case s.emits <- emitted{h, source, n, body, h.eventLabels(source, n, system, properties)}:
			return
		default:
		}
	}
	s.emitBytes.Add(-int64(len(body)))
	h.lostEvents.Add(1)
}

// routed tells whether any message of the source can go anywhere.
func (h *Hub) routed(source Source) bool {
	r := h.routing.Load()
	return r != nil && r.table.Takes(source) || r == nil && source == DeviceMessages
}

// twinMoved is told of every durable change of a twin: what routes remember of it is no longer so.
func (h *Hub) twinMoved(n Name) {
	if r := h.routing.Load(); r != nil {
		r.twins.forget(n)
	}
}

func (h *Hub) eventLabels(source Source, n Name, system, properties map[string]string) *Labels {
	sys := map[string]string{
		ContentType: "application/json", ContentEncoding: "utf-8", stampDevice: n.Device, stampSource: strings.ToLower(string(source[:1])) + string(source[1:]),
	}
	app := map[string]string{
		"hubName": hubLabel(h.HostName()), "deviceId": n.Device, "operationTimestamp": h.server.clock.Now().UTC().Format("2006-01-02T15:04:05.0000000Z"),
		MessageSchema: schemas[source],
	}
	if n.IsModule() {
		sys[stampModule], app["moduleId"] = n.Module, n.Module
	}
	maps.Copy(sys, system)
	maps.Copy(app, properties)
	return &Labels{app, sys}
}

// hubLabel is what SDKs and documents call the hub's name: contoso of contoso.azure-devices.net.
func hubLabel(host string) string {
	name, _, _ := strings.Cut(host, ".")
	return name
}

// emit sends what Emit was given until ctx ends, and then what still waits.
func (s *Server) emit(ctx context.Context) {
	one := func(e emitted) {
		defer s.emitBytes.Add(-int64(len(e.body)))
		e.hub.send(e.source, e.name, e.body, e.labels, func(_ eventlog.Position, err error) {
			if err != nil {
				e.hub.lostEvents.Add(1)
				s.log.Error("hub: an event was not stored", "hub", e.hub.Name(), "source", string(e.source), "about", e.name.String(), "err", err)
			}
		})
	}
	for {
		select {
		case e := <-s.emits:
			one(e)
		case <-ctx.Done():
			for range maxEmitted {
				select {
				case e := <-s.emits:
					one(e)
				default:
					return
				}
			}
			return
		}
	}
}

// stream is the name of an endpoint's stream in the event log.
func (h *Hub) streamOf(endpoint string) string {
	if endpoint == "" || endpoint == route.BuiltIn {
		return h.stream
	}
	return h.stream + "/" + endpoint
}
