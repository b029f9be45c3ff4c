// Package settings reads what a simulation is to do, from flags, a file and the environment, and checks it whole before anything
// connects. It is for the command; the rooms that simulate take [Settings] and ask nobody.
//
// Names, file format, defaults and meaning of the settings which Microsoft's IoT telemetry simulator knows are its own, so that a job
// made for it runs unchanged: names count without regard to case, "Intervals__sim000001" in the environment is "Intervals:sim000001"
// of a file, and the file beats the environment. Flags, which that program has in another form, beat both. Settings it does not know
// have names in the environment that begin with ISTHMUS_SIMULATE_, so that nothing there is taken for one by accident.
//
// Invariants:
//   - every refusal names the setting and where it came from; all that are wrong are told at once;
//   - keys and connection strings stand in no error and no note;
//   - what is accepted and has no effect, or another one than somebody may expect, is a note.
//
// The package starts no goroutines; Settings do not change after they were read.
package settings
