// Package provisioningtest is a provisioning service for tests: a running [World] with hubs that are only lists of devices, and
// authorities that sign certificates. Everything ends with the test.
package provisioningtest
