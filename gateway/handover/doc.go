// Package handover passes listening sockets to the process that takes a gateway over, so that no client notices an upgrade. It is for
// package gateway.
//
// The running process answers on a Unix socket ([Server]); the new one asks there ([Take]). In order: the new process asks; the old
// one sends its listening sockets, with names and addresses; the new one accepts from them too, and says that it is ready; the old one
// stops accepting, says so, and drains what it has. Both hold the same sockets, queue and all, so no connection is refused or lost at
// any moment. When the new process dies, or gives up, before it was ready, the old one goes on as if nobody had asked.
//
// Invariants:
//
//   - Sockets go only to a process of the same user: the socket file is its owner's alone, and the kernel is asked who came.
//   - One hand-over at a time, and each step has its time: nobody who asks and falls silent keeps the old process waiting.
//   - Every file that is received is closed by whoever received it, also when the rest does not come.
//
// [Inherited] finds sockets that systemd opened (sd_listen_fds(3)), and [Notify] tells systemd what the process is about
// (sd_notify(3)). A unit that takes over by hand-over needs NotifyAccess=all, since the new process tells systemd that it is the main
// one. Both work on Linux only, as the hand-over does; elsewhere nobody is found.
//
// Server.Run owns its goroutines; nothing else starts any.
package handover
