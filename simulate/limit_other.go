//go:build !unix

package simulate

// raiseFileLimit has nothing to raise where sockets are not counted among files.
func raiseFileLimit(int) error { return nil }
