// Package query is IoT Hub's query language, without a database: text becomes a tree ([Parse], [ParseCondition]), a tree becomes text
// again (String), and a condition is judged against one document ([Condition.Holds]). Twin queries, target conditions of configurations,
// conditions of jobs and of routes are all written in it. store/hubstore compiles the same tree to SQL.
//
// Values are those of JSON and one more, undefined, which a property has that is not there. Conditions know true, false and undefined,
// and hold only when true:
//   - = and != compare what is of one type; of two types = is false and != is true; with undefined, and between two arrays or
//     objects, the outcome is undefined;
//   - < > <= >= compare two numbers, or two strings by their bytes, and are undefined otherwise;
//   - AND, OR and NOT take what is not a truth value for undefined, and go by Kleene: NOT undefined is undefined;
//   - functions that ask for a type (IS_STRING and so on, IS_DEFINED) are always true or false; others are undefined when an argument
//     is not of the type they need.
//
// Keywords and names of functions are the same in upper and lower case; names of properties are not.
//
// Invariants: a text has at most MaxText bytes, a tree at most MaxDepth levels, a path at most MaxSteps steps; parsing what String wrote
// gives the same tree; nothing panics, whatever the text. Trees are not changed once made and may be shared. Faults are Invalid and
// say where and what was expected. The package starts no goroutines.
package query
