//go:build !race

package function

const (
	slow   = false
	rounds = 3
)
