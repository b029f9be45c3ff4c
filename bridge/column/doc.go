// Package column is the values of rows: what expressions give of an event, as one of a few kinds, with one form for each value however it
// was written, and converted to the type a column has. It is for windows, which group and compare values, and for files, which write them.
//
// An expression that only names a field of the body, such as this.machine.id, is answered by one pass over the body that all such
// expressions share; whatever is unusual in a body or an expression goes through Bloblang, and the result is the same. A [Set] is immutable
// once compiled and safe for concurrent use, a [Look] belongs to one goroutine. The package starts none.
package column
