//go:build race

package function

// The race detector slows the compiler of modules down tenfold, so large ones are interpreted.
const (
	slow   = true
	rounds = 0
)
