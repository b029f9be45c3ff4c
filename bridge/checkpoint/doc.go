// Package checkpoint keeps how far a bridge has come: one small file for each bridge, replaced whole and on the disk when [File.Write]
// returns. It is for package bridge, and for those who count by the day what crosses.
//
// A file that cannot be read is an error and never an empty account: a bridge that forgot where it stood would send everything again
// unmarked. The package starts no goroutines.
package checkpoint
