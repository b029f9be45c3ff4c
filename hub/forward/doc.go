// Package forward brings what routes led to an endpoint on to where the endpoint points: files in a bucket, or a webhook. It reads the
// endpoint's stream of events and keeps a durable cursor for each partition, so the way of a message into the hub does not depend on it.
//
// Invariants:
//   - at least once: the cursor moves only after the bucket or the webhook took an event, or after the event was put aside durably; a
//     restart or a kill at any moment loses nothing;
//   - a webhook is told of what it may have seen before: an event is marked when an earlier attempt may have reached it, in this process
//     or in one before. After a kill some are marked that did not; none is missing a mark. Each event has an id that stays the same;
//   - a file in a bucket is named by its first event, so that one written twice takes its own place: no event is in two files, unless
//     the endpoint was changed to smaller files just before a kill;
//   - inside a partition, and so for one device, events are offered in their order;
//   - an endpoint that is down is tried again for ever, ever more slowly, at least once a minute; what it refuses for what it is (400,
//     413, 415, 422) is put aside into the stream {endpoint}/deadletter after so many attempts, and does not hold up the rest;
//   - what the log trimmed before it could be delivered is counted, and logged once a gap.
//
// Run owns one goroutine for each partition of each endpoint, and one that looks for endpoints which came, went or changed.
package forward
