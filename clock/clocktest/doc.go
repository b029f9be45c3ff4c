// Package clocktest measures real time for tests whose subject promises some: less the time in which the machine ran nobody.
//
// A machine of tests is shared, paused and throttled. A promise of "within a second" is about what the product waits for, and a test of
// it must not fail because the process did not run for two. A [Stopwatch] has one goroutine, which ends with the test.
package clocktest
