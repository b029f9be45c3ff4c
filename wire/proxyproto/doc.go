// Package proxyproto reads and writes the header which a proxy puts before the first byte of a connection to say who is really
// calling: versions 1 and 2 of HAProxy's PROXY protocol (proxy-protocol.txt, 2020/03/05).
//
// It is for a provider's agent, which writes the header, and for the hub, which reads it. Two TLVs matter to Isthmus:
//
//   - 0xEE, subtype 0x01: the link id, four bytes little-endian, exactly as Azure's Private Link service writes it, so that a
//     backend made for one works behind the other;
//   - 0xEA (of the range 0xE0-0xEF kept for applications, clause 2.2.7): a proof that whoever wrote the header holds the link key of
//     the service. [Sign] adds it, [Verify] checks it, a [ReplayWindow] makes sure that it is used once.
//
// Invariants: nothing beyond the header is ever consumed from a connection; a header longer than [MaxLength] is refused before it is
// read; decoding never keeps a reference into the caller's bytes; what Append wrote, Decode reads back equal.
//
// Interoperation: LOCAL headers (health checks) carry no addresses and no TLVs here, whatever they had on the wire, as clause 2.2
// demands. A CRC32c TLV is verified when present. Families and commands outside the specification are refused, UDP and UNIX ones are
// understood.
//
// The package starts no goroutines. Only [ReplayWindow] has state, and is safe for concurrent use.
package proxyproto
