// Package hub is an IoT hub without a wire: devices and their keys, who may connect and from which side, who is connected now, the way
// of a device's message into the event log, and of a service's message or method call to a device. Doors (hub/mqttdoor, hub/amqpdoor,
// hub/servicedoor, hub/httpdoor) translate protocols into calls of this package and hold no state of their own; hub/front brings connections to them.
//
// One [Server] is one process and serves any number of hubs, those of its plan. A [Hub] is one of them. A [Session] is a device that
// is connected.
//
// Invariants:
//   - a message is acknowledged by calling back only after the event log has made it durable; an error means that it may be lost;
//   - an identity has at most one session; the newer one stays (IoT Hub: 400027 ConnectionForcefullyClosedOnNewConnection);
//   - a session ends at once when its device is disabled or deleted, the key it stands on is replaced, its link is no longer approved,
//     its side is closed, or its hub leaves the plan; a change that commits while a session is being made is seen by one of the two;
//   - a workload has what the assignments in the plan say, for as long as they do; a hub that has closed its public side lets in nobody from
//     there but, at the doors that ask for it, workloads it trusts (Server.EnterTrusted); where shared keys are off, policies open nothing;
//   - a peer that came through the endpoint of one hub reaches no other hub, whatever names it says;
//   - a message is acknowledged when it is durable in the stream of every endpoint its hub's routes say; events of the hub's own go the
//     same way, and nobody waits for them (see Hub.Emit);
//   - over a limit, a connection is not read, and a request is refused with 429001; nothing is acknowledged and then dropped, except what
//     no route takes;
//   - a message's [Labels] and body are not changed once submitted;
//   - a twin is answered for, and its device told, only when the change is durable; a device is told of desired properties in the order
//     of their versions, and only while it listens;
//   - a message to a device is in its queue, on the disk, until it is settled; one at a time has it; what comes back says how often it did;
//     what was completed never comes again, whatever ends: the session, the process, or the machine;
//   - a method call waits on its caller's goroutine, takes one answer from the session it was given to, and ends with that session;
//   - keys appear in no log and in no error.
//
// Run owns the two goroutines here: one measures rates, writes down who was seen, settles expired messages, and cuts every session
// when its context ends; the other gives events of the hub's own to the event log. Doors' goroutines call everything else, which is safe
// for concurrent use. Lock order: Hub.renewing or Hub.settling, Server.mu, Hub.mu; the latter two are not held while a session is cut or the
// store or the event log is called.
package hub
