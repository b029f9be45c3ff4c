// Package decide says what a gateway does with a connection: whether the source may come in on a listener for a name, and where the
// name leads. It is for the gateway, which asks for every connection; for those who explain the gateway to people; and for those who
// write the same decisions in another product's words.
//
// A name leads to the route that has it exactly, else to the longest wildcard around it, else to the route without names; of two with
// the same name, the one bound to the listener, then the first. A client that sends no name, and every client of a listener that
// reads none, has the route without names. A route with a problem refuses: its names do not fall to a wildcard.
//
// Invariants:
//
//   - [Plan.Why] finds its answer by asking [Plan.Decide] what the data plane asks, so the two cannot disagree.
//   - What [Plan.Arrive] refuses before the ClientHello, no name would have been let in for.
//   - The allowlists are asked before the routes: who may not come in learns nothing of what is behind.
//   - A decision depends on nothing but the plan, the question and the time. Limits and the health of targets come after it.
//   - Decisions take no lock and do not allocate.
//
// A [Plan] is immutable and safe for concurrent use. The package starts no goroutines.
package decide
