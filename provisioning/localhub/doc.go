// Package localhub lets a provisioning service assign devices to the hubs of the same process and tenant, without a connection string.
//
// A service reaches the hubs whose names begin with its own tenant, as they are at the time of the call. The package holds no state and
// starts nothing; a [Hubs] is safe for concurrent use.
package localhub
