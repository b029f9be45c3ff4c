// Package cache keeps what other servers answered, for the resolver: answers, and that there is none (RFC 2308), each under its whole
// question. It is pure: it asks nobody and starts nothing.
//
// An entry is one answer as it came over the wire without header, question and OPT record. [Cache.Put] reads it once with every check,
// and notes where its TTLs stand; [Cache.Get] copies it, counts the TTLs down, and is done: one hash, one short lock, no allocation.
// Records of any type, signatures and the AD bit are kept as they are. What was answered to one question is never used for another, nor
// for another group of servers, so that a server which lies in its additional records lies to those who asked it, and to nobody else.
//
// Not kept: what is malformed or cut, answers of TTL 0, records that do not belong to the question (their owner is not on its chain of
// CNAMEs), answers without records and without the SOA that says for how long, and every rcode but NOERROR, NXDOMAIN and, for seconds,
// SERVFAIL.
//
// When the time of an entry is up, Get no longer finds it; [Cache.Stale] does, for a day more, for a resolver that could get no other
// answer (RFC 8767). [Cache.Fail] notes that there was none: for a few seconds Get then gives the stale entry, or the failure, so that
// servers in trouble are not asked by every client. An entry that is asked for often is announced to one caller before it ends
// ([Hit].Prefetch), who fetches it anew.
//
// Memory is bounded by [Config].Bytes, everything counted. Each shard is a ring of bytes without pointers, which the collector does
// not look into, and an open hash table over it; both begin small and double until the shard's share is reached. New entries go to
// the ring's head; at its tail the oldest make room, except those that were asked for since, which go once more round (CLOCK).
//
// All methods are safe for concurrent use. There are no goroutines.
package cache
