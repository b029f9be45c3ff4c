// Package localsocket opens Unix sockets that only their owner can reach: doors in a data directory, where whoever may open the file
// may do everything behind it.
//
// Nobody else can connect at any moment, wherever the path is, and a socket which a process left behind is replaced. A path belongs to
// the process that listened last: closing an older listener does not take the newer one's file away. The package starts no goroutines.
package localsocket
