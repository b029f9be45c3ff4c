//go:build !wasip1

package main

import "os"

func main() {
	_, _ = os.Stderr.WriteString("this is a function for bridges: build it with GOOS=wasip1 GOARCH=wasm\n")
	os.Exit(2)
}
