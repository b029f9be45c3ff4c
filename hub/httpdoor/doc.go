// Package httpdoor answers HTTPS for a hub: what the unmodified service and device SDKs of IoT Hub ask for over REST, and Isthmus's own routes
// beside it. docs/hub-api.md lists them all; table.go, jobs.go, configurations.go, files.go, routes.go and streams.go are the table they are
// in. WebSockets and whatever is for a provisioning service go to the rooms that [Config] names.
//
// Over HTTPS a service proves itself with the token of a policy, a device with its own or with its certificate in TLS; an edge device's own
// proof is good for its modules too. The same handler also serves a local socket for whoever may open it (mode 0600), without tokens.
//
// Invariants:
//   - a handler returns its error and one function writes it, by code.Of, in IoT Hub's envelope, with a tracking id that is in the log too;
//   - whoever has no key gets one answer whether an identity exists or not;
//   - bodies are bounded, and what is read of them is complete before anything is done;
//   - names of applications' properties keep their case, though they are names of headers (heads.go);
//   - the door translates: it decides nothing and keeps nothing between two requests.
//
// The door owns no goroutine beyond those of net/http, which end before Serve returns.
package httpdoor
