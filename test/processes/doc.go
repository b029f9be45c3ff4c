// Package processes runs a deployment as what it is in the field: one process a role, each with its own data directory, perhaps in
// its own network namespace, started, killed and started again. The end-to-end tests and the benchmarks drive it; testworld is the
// quicker world in one process.
//
// Processes die with the program that started them. Nothing here knows package testing.
package processes
