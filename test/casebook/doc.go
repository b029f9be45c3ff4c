// Package casebook keeps account of which tests show which cases, and keeps a page of the documents that says so. A suite has a list of
// cases, each test says which of them it covers and with whose program, and when all tests ran, the page has to be what they make of it,
// or is written anew. It is for suites that run other people's programs; it runs none.
//
// A Book may be used by tests that run beside each other.
package casebook
