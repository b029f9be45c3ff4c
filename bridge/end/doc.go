// Package end is what a bridge has of the outside world: private endpoints, each a way to one service, with what proves the bridge there.
// Sources, destinations and functions get an End and reach nothing but it: whatever name a client library wants to dial, it comes out at
// the end's service.
//
// An End is immutable and may be used by many at once. When the endpoint's approval is withdrawn, its connections break and new ones are
// refused. The package has no goroutines.
package end
