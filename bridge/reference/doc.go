// Package reference keeps tables that events are joined with: rows of a CSV file or of JSON lines, found by the text of one column. It is for
// windows.
//
// A table is read when it is opened, and again and again. It is replaced whole: while a file or blob cannot be read, is too large, has a row
// without a key, two rows of one key or anything that cannot be read, the rows that were read last hold, and Problem says why.
// Until it was read for the first time, Row returns Unavailable, and whoever asks waits. Rows of a table are not part of any state that is
// kept: after a restart the table is what is read then.
//
// Values of CSV are texts, an empty one too. Keys are compared as text, so that the number 7 finds the row of "7".
//
// A Table has one goroutine, which ends with its context or with Close. Row and Problem are safe for concurrent use.
package reference
