// Package view is what a network's resolver knows, made ready for answering: names with their records, linked zones, forwarding rules
// and upstreams. It decides every question and asks nobody; the resolver around it has the sockets, the cache and the servers to ask.
//
// A [View] is plain data from the plan; [New] turns it into a [Table], which is never changed afterwards and may be used by any number
// of goroutines. A name that cannot be served is left out and stands in [Table.Problems]: one bad name must not take the others away.
//
// Who decides ([Table.Decide]), the first that holds the name:
//
//  1. names of the view, wildcards (RFC 4592) and linked zones. A type without value is NODATA, never NXDOMAIN, or dual-stack clients
//     would give up on the name (RFC 2308 section 2). A name that a linked zone lacks does not exist, unless the zone redirects: then the
//     upstreams are asked for its public answer
//  2. forwarding rules: a rule for exactly this name, then the longest domain that holds it
//  3. the network's upstreams
//  4. nobody: the question is refused
//
// A CNAME among the view's names comes together with what it leads to; one that leads out names the servers to ask for its target.
// And what servers answer is not the last word where it leads back in: [Table.Redirected] cuts a chain of CNAMEs at the first name that
// the view decides, so that a public name leads to the private address also when only its privatelink name is known here.
//
// How it is kept: one block of bytes holds all names and their records as they go out, an array of fixed-size nodes without pointers
// points into it, and one hash table finds a node by a name in wire form. Names above other names, zones and rules are nodes too,
// and each knows the longest zone and rule that hold it, so a name which is not there is decided by the closest node above it. Answers
// for addresses, CNAME included, are written when the table is made: deciding an exact name is one hash, one comparison and one copy,
// without allocation. A forged or strange question costs at most as many hashes as the deepest name here has labels.
//
// There are no goroutines.
package view
