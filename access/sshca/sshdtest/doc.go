// Package sshdtest runs the machine's own sshd and ssh in tests: what Isthmus certifies and what it speaks is right when OpenSSH takes it.
//
// Each connection has an sshd process of its own (sshd -i) behind a listener of the test, so that there is no port to guess and no start
// to wait for. Logins are those of the account that runs the test. What a [Server] started has ended when the test has.
package sshdtest
