// Package loosejson reads JSON as people write it into settings: a byte order mark, comments, a comma before a closing bracket, names
// without quotes, and single quotes are all taken. It is for the simulator, whose users bring files and environment variables that
// other programs took in one of those forms.
//
// A [Value] keeps numbers as they were written and the members of an object in their order. Depth is bounded; what is no JSON even so
// is refused with line and column. The package starts no goroutines and holds no state.
package loosejson
