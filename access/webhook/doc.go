// Package webhook is what the control plane and the receivers of its webhooks agree on: what an event looks like, and how a delivery is
// signed. Receivers import it, or do in ten lines of another language what [Verify] does.
//
// A delivery is a POST with a JSON [Event] and two headers. Isthmus-Signature is "t=UNIX,v1=HEX": the moment of sending, and the HMAC-SHA256
// of the text UNIX, a dot and the body, with the webhook's secret as its key. Isthmus-Delivery is the event's id, which stays the same when a delivery is
// tried again: a receiver that has seen an id has nothing more to do.
//
// Invariants: the time is inside what is signed, so that an old delivery cannot be made young; the id is inside the body, so that a
// delivery cannot be given another; comparing takes the same time whatever is wrong.
//
// It has no goroutines.
package webhook
