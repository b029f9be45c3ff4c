// Package device is a device for tests, below what SDKs let one see: a connection that speaks MQTT 3.1.1 to a hub, says exactly what it is
// told to say, hears everything, and acknowledges what it is told to acknowledge.
//
// [Dial] returns when the hub has accepted the device. One goroutine reads until the connection ends, and calls what Config names; those
// must not wait. [Device.Close] ends it.
package device
