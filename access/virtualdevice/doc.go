// Package virtualdevice plays devices of an IoT hub that lead somewhere: each accepts device streams, and joins a stream to the one address
// that its settings have under the stream's name. It is how people reach machines that know nothing of hubs, from a machine beside them
// that only dials out: as a process, as a container, or as a module of Azure IoT Edge.
//
// [New] makes a host, [Host.Set] says which devices there are, and [Host.Run] keeps each connected to its hub by MQTT, on port 8883 or inside a
// WebSocket on 443, and carries its streams. [Module] follows the twin of the module that the process is, if it is one, and reports there.
//
// Invariants:
//   - a stream leads to the address that stands under its name, or is rejected: whoever asks chooses no address;
//   - an address that does not answer is found out before the stream is accepted, which is then rejected;
//   - devices are apart: a wrong key, a dead target, or a change of one does nothing to another; a change of one of its streams nothing to the
//     device's other streams, nor to its connection;
//   - what a change takes away is cut when Set returns;
//   - a stream outlives the device's connection to the hub, which is lost and made anew with growing pauses;
//   - keys stand in no log, no report and no error; devices, streams, sessions and what a peer may send are bounded.
//
// Goroutines belong to Run, which returns when all have ended: one for each device with one for its pings, three for each session, and
// one for the module.
package virtualdevice
