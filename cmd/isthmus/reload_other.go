//go:build !unix

package main

// reloads never receives: there is no SIGHUP here.
func reloads() (again <-chan struct{}, stop func()) { return nil, func() {} }
