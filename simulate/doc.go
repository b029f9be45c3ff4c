// Package simulate plays devices: they connect as an SDK does (name looked up, TLS checked, SAS or certificate; MQTT 3.1.1, AMQP 1.0 or
// HTTPS) and send telemetry. The demo's sensors and load tests are made of it, and `isthmus simulate` is it with settings.
//
// A [Device] is one connection over MQTT, driven by hand. A [Fleet] drives tens of thousands by its settings: each member sends, waits for the
// acknowledgement, pauses, connects again when it is cut off, and sends again what was not acknowledged, so that a hub sees every
// message at least once and in order. [Fleet.Snapshot] is what is going on, [Fleet.Run] returns what came of it, and
// [NewCollector] serves both to Prometheus.
//
// A member at rest costs one goroutine, which reads, and no timer: a schedule wakes all of them, a few workers write for them, and a
// bounded number connects at once. A Device owns two goroutines, Close waits for them; a Fleet's have ended when Run returns.
package simulate
