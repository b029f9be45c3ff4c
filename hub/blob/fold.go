//go:build darwin || windows

package blob

// foldsCase tells whether file systems here usually take upper and lower case for the same.
const foldsCase = true
