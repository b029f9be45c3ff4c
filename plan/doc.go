// Package plan is what the control plane tells one process to do now, as plain data: listen here, dial there, answer these names,
// serve these hubs. The control plane compiles a plan from the nouns, pushes it whole whenever it changes, and the process keeps the
// last one on its disk, so that data goes on flowing while the control plane is away.
//
// The rules of allowlists travel apart, in parts that are sent once ([Writer], [Reader]): a change of one rule among a hundred thousand
// is a matter of kilobytes, while whoever reads a plan has it whole.
//
// A plan is complete: what it does not name is not done and is undone if it was. It holds link keys, so it is written with mode
// 0600 and never logged. Two plans are equal when their revisions are.
//
// The package does no I/O and starts nothing.
package plan
