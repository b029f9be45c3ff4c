// Package simulate plays devices: it connects as an SDK does (name looked up, TLS checked, SAS made from a connection string, MQTT
// 3.1.1) and sends telemetry. The demo's sensors and load tests are made of it.
//
// A [Device] is one connection. It owns two goroutines, one that reads acknowledgements and one that pings, which end when the connection
// does; [Device.Close] waits for them. Send may be called by several goroutines at once.
package simulate
