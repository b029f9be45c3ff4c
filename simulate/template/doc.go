// Package template makes texts in which variables stand as "$.Name": the bodies and headers a simulated device sends.
//
// [Variables] are made once of what a user declared: counters, random whole numbers and fractions, values of a list, sequences, random
// texts of a length; DeviceId, Guid, Time, LocalTime, Ticks, Epoch, MachineName and IterationNumber are always there. [Variables.Compile]
// cuts a text at its variables once, the longest name first. A [State] is one device's values: [State.Next] moves them on by one
// message, and [Template.Append] renders them into the caller's buffer without allocating.
//
// Meaning and form of every value are those of Microsoft's IoT telemetry simulator (numbers as .NET writes them, times with seven
// digits), so that what reads the messages of a job need not change with the program that sends them.
//
// Variables and templates do not change after they were made and may be shared; a State belongs to one goroutine at a time. The package
// starts none.
package template
