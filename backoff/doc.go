// Package backoff says how long to wait before something that failed is tried again: for whoever connects, binds or renews.
//
// Pauses have full jitter below a bound that doubles with each failure, so that thousands who lost the same server do not come back
// at once; a floor keeps even a row of unlucky draws from spinning. The package starts no goroutines. A Backoff belongs to one
// goroutine.
package backoff
