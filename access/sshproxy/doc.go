// Package sshproxy ends a person's SSH on the agent, so that it can be recorded, and speaks SSH anew to the machine's sshd. It is the gate's
// Terminator for targets whose policy requires recordings.
//
//	ssh ──(person's certificate)── Proxy ──(certificate that names the person)── sshd
//	                                 └── recording, names and hashes of files, commands
//
// What is recorded:
//
//   - Terminals (pty-req): all that is shown and typed, with its timing. A shell without a terminal is recorded the same way.
//   - Commands: their text. What they read and wrote besides, up to 256 KiB each way; a marker says how much there was beyond. A program that
//     is started this way and told what to do behind those bytes is not seen doing it.
//   - Files of scp, old and new, and sftp: name, direction, size, SHA-256 where content went by whole and in order; what sftp removed, renamed
//     and made. Not their content. Other programs that carry files (rsync, tar) are commands.
//   - Forwarded connections, where the target allows any: where to, and how many bytes.
//
// What cannot be known: whether the machine echoes what is typed, for that is switched on the machine, unseen. A password typed for sudo
// is in the recording like all that is typed. [Config.NoInput] leaves out everything that is typed, and input is left out where the person's
// program asked for a terminal without echo.
//
// Invariants:
//
//   - Nobody gets in but with a certificate of the tenant's authority that is valid now, names the grant's person and grant, and the account
//     asked for. There are no passwords and no plain keys.
//   - The machine's host key is checked against the plan's; where the plan names none, the first one seen is remembered, and another one
//     refused.
//   - Required means required: nothing is passed on that the recording did not take, and when a recording fails the session ends.
//   - What is passed on is not changed. Channels, requests, what waits and handshakes are bounded; back-pressure is passed on.
//   - Nothing is asked of the control plane while a session runs, and to start one only when there is no certificate from before.
//
// The goroutines of a session belong to Serve, which returns when they have ended. A [Proxy] starts none otherwise, and is safe for
// concurrent use.
package sshproxy
