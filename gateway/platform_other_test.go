//go:build !linux

package gateway_test

const canHandOver = false

func raiseFiles() int { return 1024 }
