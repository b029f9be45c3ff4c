// Package allowlist decides who may come in: rules of address ranges, ports, names and times, compiled into an immutable [Table] that
// answers in well under a microsecond however many rules there are. It is for the gateway, which asks it for every connection, and
// for those who explain what the gateway does.
//
// Of all rules that hold for a source, a port and a name and have not expired, the one with the longest prefix decides; of equally
// long ones the one that denies; of those left the first by name of allowlist and rule, so that every gateway names the same one.
//
// Invariants:
//
//   - [Table.Lookup] and [Table.Explain] say the same of the same question.
//   - A lookup does not allocate and takes no lock. Its time depends on how many ranges lie within each other around the source, not
//     on how many rules there are, also when all of them are for the same range and differ by name or port.
//   - Rules end by themselves: whether one has expired is asked at every lookup, and [Table.NextExpiry] tells when somebody who was
//     let in has to be looked at again.
//   - An IPv4 address in IPv6 dress is the IPv4 address; a zone does not matter.
//
// A table never changes and is safe for concurrent use; to change the rules, compile another. The rules given to [New] belong to the
// table and must not be changed. The package starts no goroutines.
package allowlist
