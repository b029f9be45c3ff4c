// Package tunnel is the code of every byte that Isthmus itself puts on a link: the frames of a multiplexed tunnel between two
// agents ([Header] and its payloads, among them the [Flow] that opens a stream), the [Preface] with which an agent asks a relay to
// pair two connections, the [Status] byte that answers it, and the [Signal] frames an agent and a relay exchange.
//
// It is for link/mux, link/relay and link/transport, and for whoever writes a peer; docs/link.md and docs/link-mux.md say the same
// in prose. Integers are big endian.
//
// Invariants: a decoder never panics, never reads past what a frame may hold, keeps nothing of its input, and refuses whatever the
// encoder would not have written, so that each value has exactly one spelling (words for people excepted: they are made legible).
// Every length is bounded by a constant here. The
// package does no I/O beyond the reader it is handed, starts no goroutines and holds no state.
package tunnel
