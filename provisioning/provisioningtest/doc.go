// Package provisioningtest is a provisioning service for tests: a running [World] with hubs that are only lists of devices, and
// authorities that sign certificates. Everything ends with the test: a World has one goroutine, that of the server's Run, and
// [World].Stop waits for it.
package provisioningtest
