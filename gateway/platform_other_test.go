//go:build !linux

package gateway_test

const canHandOver = false
