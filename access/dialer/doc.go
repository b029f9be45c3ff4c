// Package dialer is the person's side of access: it takes a person's program to targets through the relays, with a pass in place of an
// agent's certificate, and makes of it what programs can use: a connection, a listener, a SOCKS server, standard input and output.
//
// Who uses it: the commands of people (isthmus ssh, connect, socks, access proxy). Nothing in it listens for tunnels, and what a relay
// offers is declined.
//
// Invariants:
//
//   - It decides nothing: whether somebody is let in is said by the process that leads to the target, with words for people, which come
//     back as a fault. No address leaves this side, only the id of a grant.
//   - A pass is renewed after half of its life, and before it is used once it has lapsed; while nobody renews it, the one there is goes
//     on for as long as it is good. With [Config.File] it outlives the process, so that ways stay open while the control plane is away.
//   - A tunnel that is lost takes its connections with it; the next connection finds another, by the same grant.
//   - What a client of a listener can make this process hold is bounded in number and in time.
//
// Goroutines: [Dialer.Run] owns the transport and the renewal; [Dialer.Forward], [Dialer.Socks] and [Dialer.Stdio] own theirs and
// return when they have ended.
package dialer
