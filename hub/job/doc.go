// Package job does one thing with many identities of a hub, later or now: it updates their twins or calls a method on each (IoT Hub:
// schedule jobs on multiple devices), and it imports and exports the registry.
//
// A job names its identities by a query condition, which is answered once, when the job starts; the names found are written down, so that
// a restart goes on with the same ones. Each identity's outcome is written down by itself and can be queried (FROM devices.jobs).
//
// Invariants:
//   - a job that was accepted survives a restart, with its progress;
//   - a twin update may be done again after a crash, which changes nothing more; a method is never called twice for one job: a call that
//     was under way when the process died is marked failed, for nobody knows whether the device ran it;
//   - a job ends: when all is done, when it was cancelled, or when its time is over;
//   - at most Config.Running jobs of a hub run at once, each with at most Config.AtOnce identities; more wait their turn.
//
// [Scheduler.Run] owns all goroutines: one that looks for work, one for each running job, and those the job has at once.
package job
