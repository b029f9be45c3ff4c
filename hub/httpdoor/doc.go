// Package httpdoor answers HTTPS for a hub: the identity registry as the unmodified azure-iothub SDK speaks it, telemetry from devices,
// and Isthmus's own stream of events.
//
//	GET /devices, /devices/{d}     PUT, DELETE /devices/{d}     POST /devices (bulk)     GET /statistics/devices, /statistics/service
//	POST /devices/{d}/messages/events
//	GET /isthmus/v1/events?partition=&from=start|end|N|P:N,..&follow=1&limit=     one JSON object a line
//	POST /isthmus/v1/devices/{d}/keys     {"renew": "primary|secondary|swap"}; no key is shown
//	GET /isthmus/v1/policies              names and rights; with every right only, as with the policy iothubowner
//	POST /isthmus/v1/policies/{name}/keys {"renew": "primary|secondary|swap"}; with every right only
//
// The same handler also serves a local socket for whoever may open it (mode 0600), without tokens, and there also
//
//	GET /isthmus/v1/hubs      GET /isthmus/v1/policies/{name}?key=primary|secondary     a connection string
//
// A handler returns its error; one function writes it, in the envelope of IoT Hub's REST API, by one table from fault.Kind.
//
// The door owns no goroutine beyond those of net/http, which end before Serve returns.
package httpdoor
