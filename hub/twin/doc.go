// Package twin is the documents the hub keeps about each identity: tags, which only services see; desired properties, which services
// write and the device reads; reported properties, which the device writes and services read. It is pure: no store, no clock, no wire.
//
// A [Document] is a value. What somebody wants of it is a [Change], read and checked once, outside of any lock; [Document.With] gives the
// document as it is afterwards, or an error that leaves everything as it was.
//
// Invariants:
//   - texts are canonical JSON: no white space, keys in the order of their bytes, strings with no escape that is not needed; so two
//     documents that hold the same are the same text, whatever the history;
//   - a number keeps the digits it came with;
//   - a text and its metadata have one shape (see shape.go), and are only written together;
//   - the version of the whole rises by one with every change, that of each part with every change of that part, also when the change
//     says what was there already;
//   - sizes, depths and names stay within the limits below (IoT Hub: device twins, tags and properties format, device twin size).
//
// Faults: Invalid and TooLarge, with words that name the key.
package twin

// Limits of one document. Sizes count as IoT Hub counts them: the keys, the characters of strings as UTF-8 without control characters, 8
// bytes a number, 4 a truth value. An array counts as what it holds.
const (
	MaxTags       = 8 << 10
	MaxProperties = 32 << 10 // desired and reported, each
	MaxDepth      = 10       // objects and arrays within each other, below the part itself
	MaxString     = 4 << 10  // bytes of UTF-8
	MaxKey        = 1 << 10  // bytes of UTF-8
	MaxInteger    = 1<<52 - 1
	MinInteger    = -1 << 52

	// MaxTextRatio bounds what costs nothing in the count above, such as empty arrays: the text of a part is at most so many times its limit.
	MaxTextRatio = 4
	// MaxPatch is the longest text of a change a device sends.
	MaxPatch = MaxTextRatio * MaxProperties
	// MaxBody is the longest text of a change a service sends: a whole twin with its metadata, written with white space.
	MaxBody = 1 << 20
)
