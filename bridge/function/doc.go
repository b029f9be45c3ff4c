// Package function runs a bridge's own code: services behind private endpoints ([HTTP]) and WebAssembly modules ([WASM]), which are given
// events in batches and answer with what becomes of each. It is for package bridge, which asks [Functions.Step] for one step a lane.
//
// # What both are given
//
// A JSON array of events:
//
//	[{"body": {"celsius": 21.5}, "properties": {"type": "telemetry"}, "system": {"iothub-connection-device-id": "press-4"},
//	  "key": "press-4", "origin": {"partition": "3", "sequence": 17, "enqueued": "2026-01-31T12:00:00Z"}, "repeat": true}]
//
// A body that is JSON stands there as it is; any other in UTF-8 is "text", and one that is not "base64". Of properties, numbers and
// booleans are JSON's, whole numbers without a point, times are {"time": "2026-01-31T12:00:00Z"} and bytes {"base64": "…"}. What is empty is absent.
//
// # What both answer
//
// A JSON array with one element for each event, in order: an array of what it becomes, [] when it is left out, or {"refused": "why"}, which
// makes it a dead letter. What an event becomes is written as above; of body, text and base64 there is one at most. Without any of the
// three the body is as it was, and so are properties, system and key where they are absent. origin and repeat are not read. An answer has
// 64 MiB at most.
//
// # HTTP
//
// POST with Content-Type application/json; the secret, or a token of the bridge's identity for https://HOST/, as Authorization. An answer of
// 200 is as above. A function is away when it cannot be reached or answers 401, 403, 404, 405, 407, 429, 502, 503, 504 or a redirect: that
// is waited for, with Retry-After. Any other 5xx, an answer that cannot be read and one that does not come in time are tried again, and then with each
// event alone; an event to which it answers so, or with another 4xx, is refused. When no event alone is answered in time, the function
// is away, until that has been so three times with a single event. Words of such answers are not repeated, since they may hold values of events.
//
// # WebAssembly
//
// A module exports memory, isthmus_alloc(size i32) i32 and isthmus_process(ptr i32, len i32) i64. A call is: isthmus_alloc gives the place for
// the batch, isthmus_process is given where it is, and returns ptr<<32 | len of the answer, which the module leaves alone until the next
// isthmus_alloc. Both of its buffers are the module's own to keep or free by then. _initialize is called first if there is one (reactors of
// WASI). It may import wasi_snapshot_preview1: clock and random numbers are the machine's; there are no files, no environment, no arguments
// and no network, what it writes is dropped, and sleeping takes no time.
//
// Each lane has an instance of its own, with its own memory. A trap, an exit, an answer that cannot be read, too much time and too much memory
// end it: the events are given again one by one to new instances, and those with which it ends again are refused. An instance that has
// used three quarters of its memory is replaced by a new one between calls: a module must keep nothing that it cannot lose. Nothing is run
// whose SHA-256 is not the one in the manifest.
//
// The package starts no goroutines but those of net/http's connections, which end with Close. A step is used by one goroutine at a time,
// Functions by many.
package function
