// Package provision registers a device with a provisioning service, as its SDK does over HTTPS, and learns which hub is its own (DPS:
// device REST API 2019-03-31). A device proves itself by a key or by a certificate; a TPM is not simulated.
//
// A [Client] is one service. It keeps no secrets, is safe for concurrent use, and owns no goroutine that outlives a call but those of
// net/http's idle connections, which Close ends.
package provision
