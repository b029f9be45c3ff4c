// Package message reads DNS queries by hand and writes the parts of replies that do not depend on what is answered. It is for the
// resolver, which decides tens of thousands of queries a second and cannot build a tree of records for each.
//
//   - [Query] is a query: header, question and OPT record. Parsing allocates nothing and copies only the name, in lower case.
//   - [Query.Begin], [BeginOPT], [AppendOption], [AppendEDE] and [PutHeader] write a reply piece by piece at the end of a buffer.
//   - [Read] walks through the records of an answer, [PutTTL] changes one's TTL, [AppendRecord] moves one into another message, with
//     the names in it written out.
//   - [AppendName], [Text] and [Expand] turn names into wire form and back.
//
// Every length and offset of a packet is checked before it is used: no packet makes a function panic, read past its end, or run
// longer than the packet's size allows; pointers must lead backwards. Nothing is kept: a Query's slices point into its packet and
// are good as long as that is ([Query.Keep] copies both). There are no goroutines and no state.
//
// Standards: RFC 1035 section 4 (format), RFC 6891 (EDNS), RFC 7873 (cookies), RFC 8914 (extended errors), RFC 3597 section 4 (in
// which types names may be compressed), RFC 9619 (one question).
package message
