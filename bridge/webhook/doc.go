// Package webhook is the destination of bridges that is an HTTP service: batches as a JSON array, or one event a request. The service is reached
// through a private endpoint and nothing else; redirects are not followed.
//
// A batch is an array of objects, in order:
//
//	{"id": "BRIDGE/PARTITION/SEQUENCE", "repeat": true, "device": "press-7", "enqueued": "2026-11-23T09:00:00Z",
//	 "body": {…}, "properties": {"line": 3}, "system": {"content-type": "application/json"}}
//
// id is the same however often the event is sent; repeat is there, and true, when the event may have been sent before. A body that is a
// JSON document stands as body; other text as bodyText; anything else in base64 as bodyBase64. Of properties of one name the first counts; bytes
// are in base64, times in RFC 3339, and numbers that JSON cannot say are text. A request has at most 1000 events and 1 MiB, or one event.
//
// With single, the body is the event's as it is. Content-Type is the event's own where it has one, and Isthmus-Origin, Isthmus-Repeat,
// Isthmus-Device (percent-encoded where it must be), Isthmus-Enqueued, Isthmus-Properties and Isthmus-System (JSON in ASCII) are headers.
// Headers of the manifest come first; those that the bridge makes take their place.
//
// A secret that begins with "hmac:" is a key: each request is signed with what follows, as package access/webhook does and verifies
// (Isthmus-Signature over the time and the body; headers are not in it). Any other secret is sent as Authorization as it is. Without a secret, a
// service of the deployment gets "Bearer" and a token of the bridge's workload for the audience https://HOST/.
//
// What answers mean:
//   - 2xx: the events are taken.
//   - 400, 409, 413, 415, 422 and others below 500: halves of the batch are tried, down to single events; an event that is refused alone is
//     refused for good.
//   - 401, 403, 404, 405, 407, 410 and redirects say that something is set up wrongly, and nothing of an event: the bridge waits and says so.
//   - 408, 425, 429, 5xx, time-outs and broken connections: the bridge waits. Retry-After, of seconds or a date, is honoured up to ten
//     minutes: until then nobody asks this service anything.
//
// Invariants: a lane has one request under way, so that its events arrive in order; of a batch that failed midway only the rest is sent
// again; of an answer at most 64 KiB are read and none of it is in errors or logs; secrets are in neither.
//
// The package starts no goroutines but those of net/http's connections, which end with Close.
package webhook
