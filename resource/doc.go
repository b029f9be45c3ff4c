// Package resource is the vocabulary of Isthmus: the nouns, their identities, and the rules that hold for them without looking
// anywhere else.
//
// A noun is a struct that embeds [Header] and has a Spec (what somebody asked for) and a Status (what Isthmus says about it). Its
// identity is a [Key]: kind, tenant, scope (the network, or the zone for a record set) and name; in text "ot/plant-7/hub".
//
// Invariants kept here:
//   - names are 1 to 63 of a-z, 0-9 and '-', beginning and ending with a letter or digit (RFC 1123 label), record set names aside;
//   - a connection only moves along [Connection.Apply]; Disconnected is final and only Approved passes a byte;
//   - auto-approval is a subset of visibility;
//   - an address range of a network overlaps no other range of the same network; ranges of different networks may overlap;
//   - everything that depends on what a service is (ports, public suffix, private zone) comes from one table, [TypeOf].
//
// The package does no I/O, starts nothing, knows no clock and imports only fault. Values are plain data: safe to copy after
// [Clone], not safe for concurrent writes.
package resource
