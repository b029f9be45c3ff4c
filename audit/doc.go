// Package audit is the audit log as data: records, the chain of hashes that ties each to the one before it, checkpoints that the
// deployment's authority signs, and the file in which both leave the deployment. The control plane writes and checks chains with it, and
// whoever was given an export and the authority's certificate checks them without asking anybody (docs/audit.md).
//
// Invariants:
//   - a record's hash covers every field, each with its length before it, and the hash of the record before: no two different records give
//     the same bytes, and what [Record.Canonical] returned is the same bytes after any number of JSON encoders of this house;
//   - a [Verifier] accepts a chain only if every record is the next one; what it does not accept it names: the first record that is wrong,
//     and what was done to it; what it holds meanwhile is bounded;
//   - a checkpoint is good for one trust domain, tenant, sequence and hash, and its signature for nothing but a checkpoint;
//   - a [Reader] accepts exactly what a [Writer] writes, byte by byte, in lines of bounded length: two programs that read an export cannot
//     read different things out of it.
//
// The package asks no database and no network, has no state beside its values, and starts no goroutines. A Verifier, Reader or Writer is
// for one goroutine at a time.
package audit
