// Package partway remembers how far a destination got with a batch that it could not finish, for destinations that are told of each event, or
// of each few, whether it was taken. The core gives the same batch again after a pause: with this account the destination goes on where it
// stopped, and a service that is overloaded makes headway and sees few repeats.
//
// An account is only good for the very next batch of its lane, and only when that is the same batch: for any other it begins anew. Accounts are in
// memory alone; after a restart all of a batch is sent again, marked.
//
// It has no goroutines.
package partway
