// Package demo runs the standard world of testworld for a person to watch ([Show]) or for a program to check ([Check]): sensors in a
// plant find a hub by DNS and send to it over the private path, somebody knocks at the closed public side, and an endpoint of another
// tenant waits for its approval.
//
// Both return when their context ends, or earlier when they are done, and leave nothing behind.
package demo
