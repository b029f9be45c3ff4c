// Package trial runs the tests that a Bridge's manifest holds, with the code that runs in a bridge: its steps, its window and the contract. It
// needs no network, no source and no destination. It is for authors of manifests, and for whoever checks them before they are applied.
//
// Each test begins with nothing. Its input is one batch of partition 0, numbered from 0, that came in a millisecond apart from 2026-01-01T00:00:00Z on
// unless an event says when; the partition key is the device's id. Behind the input the partition is idle until all windows are closed.
// Hashes are made with a key of the trial alone, and limits of the contract are not asked. Of what is expected only what is written down
// is compared: of objects the named members, of arrays all elements, numbers as numbers.
//
// Nothing is left running when [Run] returns.
package trial
