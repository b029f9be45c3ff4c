// Package bulk creates and deletes devices by the thousand in a hub's registry, in parallel requests of up to a hundred, and counts what
// became of each. A device that is there already, or is gone already, is counted as such and is no failure.
//
// Create and Delete return when all their requests have ended; nothing of theirs outlives the call.
package bulk
