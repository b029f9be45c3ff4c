// Package stream carries device streams: a service asks for one, the device accepts or refuses it over the protocol it is connected by, and
// both then open a WebSocket to the hub, which passes bytes between the two (IoT Hub: device streams, preview; retired there).
//
// [Gateway.Open] makes a bridge with an address and a token for each end, and asks the device. [Gateway.Reserve] takes
// the token of an end that came to the address, and [Place.Join] its connection, which is held until the other end is there; then bytes pass
// until either ends.
//
// Invariants:
//   - a token opens one end of one bridge, once, within the minute after the device accepted;
//   - nothing is read of an end before the other one is there, so nothing has to be kept;
//   - when one end closes or is lost, so is the other; and both, within a second, when the device's identity or key, the service's key, or
//     the side from which an end came is taken away;
//   - a hub has at most Config.Open bridges, makes at most Config.EachSecond a second, and carries Config.Bytes a day (UTC).
//
// [Gateway.Run] looks for ends that do not come. A bridge has one goroutine for each direction, which end before [Place.Join] returns.
// Bridges live in memory: a restart ends them.
package stream
