// Package streamkey makes the keys with which a grant for a device's stream is used by programs that know nothing of grants: those written
// for IoT Hub, which are given a connection string. The control plane hands it to the person whose grant it is, and the hub knows it
// again without having been told: both have the hub's link key.
//
// Invariants: a key is of one grant and one hub, and says nothing of another or of the link key; the same grant always has the same key.
// Whether the grant lets anybody in is not decided here.
//
// It holds no state, starts nothing and is safe for concurrent use.
package streamkey
