// Package filewatch reads along while scp and sftp carry files, and says which: names, direction, size and SHA-256. It never changes a byte
// and never delays one for longer than it looks at it.
//
// Two protocols are understood: SFTP, version 3 (draft-ietf-secsh-filexfer-02), which is what scp speaks since OpenSSH 9, and the older one
// of rcp, for which no standard is written: lines C, D, E and T, each answered by a byte.
//
// Invariants:
//
//   - Both ends are hostile. What a watcher holds is bounded: headers, a number of requests and open files; content is hashed and
//     forgotten. It never panics.
//   - Traffic it cannot follow is an error, and stays one: whoever must know what was carried ends the channel then.
//   - Names are those the programs used, without resolving "..", links or folders. One with control characters is quoted, so that it can
//     stand in a terminal.
//   - A hash is given only of content that went by whole, in order, from the beginning.
//
// Watchers have no goroutines. Each is safe for use by two: one for each direction.
package filewatch
