// Package recording writes down what a person did in a terminal, so that only those who may look can, and plays it back harmlessly. The
// process that ends a person's SSH writes; `isthmus access replay` and the console read.
//
// What is written is an asciicast, version 2 (https://docs.asciinema.org/manual/asciicast/v2/): a header and events "o" shown, "i" typed,
// "r" resized, "m" marker. A connection may have more than one terminal: those after the first have their number behind the letter ("o2"),
// which players that do not know it leave out. The text lies in a sequence of age files (https://age-encryption.org/v1), each a few
// seconds long, since what age has not finished cannot be read:
//
//	"isthmus-recording 1\n"  then, again and again:  length of the age file (4 bytes, big-endian)  age file
//
// Each age file begins, inside, with 16 bytes that are the same in all of a recording, its number from 0 (4 bytes) and whether it is the
// last (1 byte). Thus what was taken out, put in, put elsewhere or cut off is noticed. Whoever has the public keys can write another
// recording from the beginning; that the control plane was given this one is told by the audit log, which has its hash.
//
// Invariants:
//
//   - The process that writes cannot read what it wrote a few seconds ago, nor can anybody who gets the disk.
//   - A process that is killed loses what was recorded in the last [FlushEvery] (or less: a segment ends when it is full); a machine that loses
//     power loses what its kernel had not written either. [Reader.Whole] tells that the end is missing.
//   - Bytes that are no UTF-8 are recorded as U+FFFD, for JSON has no others. Everything else is recorded as it was.
//   - A recording has a most size. When it is reached a marker says so and what is shown is left out; what is typed, and markers, are recorded for
//     some more, and then it ends with an error. A marker at the end says how much is missing.
//   - An error stays: nothing is written after one, so whoever must record learns of it with the next byte.
//   - A recording is hostile input to the terminal it is played in. Only what draws gets through; see [Filter].
//   - What is typed may be a secret (a password is typed like anything else). Replay and Text show what the screen showed and not what was
//     typed.
//
// A [Writer] starts no goroutine; Run is one that its owner gives it. A Writer and its terminals may be used from any goroutine, the
// others by one at a time.
package recording
