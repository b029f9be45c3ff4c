// Package servicedoor lets back ends of a hub speak AMQP 1.0 to it, as Azure's service SDKs do (IoT Hub: send cloud-to-device messages; AMQP,
// service client). It serves the links of a connection that are no device's and read no events; hub/amqpdoor, which holds the claims of the
// connection, gives them to it.
//
//	sender      /messages/devicebound                           properties.to is /devices/{device}[/modules/{module}]/messages/devicebound
//	receiver    /messages/serviceBound/feedback                 what became of messages whose sender wanted to know
//	receiver    /messages/serviceBound/filenotifications        files that devices have sent
//	receiver    /messages/events...                             where the hub's events are read has another host name: a redirect there
//	both        /messages/events/$management                    a redirect, always
//
// Invariants:
//   - every link stands on a claim of ServiceConnect, and is detached when that ends, or the key behind it was renewed;
//   - a message is accepted when it is durable in its device's queue, and rejected with the reason otherwise; messages of one link are queued
//     in their order;
//   - feedback and notifications are given out when there is credit, each to one of those who receive, and again when it is not settled in
//     time, or the link ends before; accepted and rejected end it, released and modified give it back;
//   - who waits for something to give is woken by an event or by the clock, and looks only then;
//   - secrets stand in no log and no error; what is refused has a tracking id, in the peer's error and in our log.
//
// A conversation has one goroutine that watches its claims while it has links, one for each receiver, and others while messages and outcomes
// are on their way to the store. All have ended when Ended returns.
package servicedoor
