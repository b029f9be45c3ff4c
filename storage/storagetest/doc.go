// Package storagetest runs a blob service for tests: an account with its stores in temporary folders, on a disk or in a bucket, behind its
// HTTPS door. It imports testing, so programs do not.
//
// A [World] lives as long as the test that started it, and cleans up after itself.
package storagetest
