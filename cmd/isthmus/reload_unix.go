//go:build unix

package main

import (
	"os"
	"os/signal"
	"syscall"
)

// reloads receives once for each SIGHUP, several close together as one.
func reloads() (again <-chan struct{}, stop func()) {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	out, done := make(chan struct{}, 1), make(chan struct{})
	go func() {
		for {
			select {
			case <-hangups:
				select {
				case out <- struct{}{}:
				default:
				}
			case <-done:
				return
			}
		}
	}()
	return out, func() { signal.Stop(hangups); close(done) }
}
