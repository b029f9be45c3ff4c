// Package upstream is the asking half of a resolver: it puts questions to other DNS servers, over UDP, TCP, TLS and HTTPS. A [Pool]
// keeps the sockets, the connections and what is known of each server; a [Group] is servers in their order of preference; [Pool.Ask]
// puts a question to a group and calls back with the answer as it came over the wire. Which question goes to whom, and what becomes
// of the answer, is decided by those who answer.
//
// # Which server
//
// The first healthy server of the group is asked. One that does not answer in time is skipped, for twice as long after each outage,
// and the next is asked; when a pause is over, a probe finds out whether it lives, not somebody's question. When all are skipped, the
// one whose pause ends first is asked anyway. SERVFAIL, REFUSED and the like are signs of life, but no answer as long as another
// server may have one. Equal questions in flight to one group are joined: one goes out, all get its answer.
//
// # Against forged answers
//
// A datagram is taken as an answer only if it comes from the server's address to the socket the question left from (which is
// connected), with its random identifier, and the same question in the same random mixture of upper and lower case. Sockets are on
// random ports, several for each server, and given up after some questions or seconds; Config.SocketUses 1 makes it a fresh one each
// time. Every server gets a cookie of ours (RFC 7873), and one that sends cookies must go on doing so. Where only the case or the
// cookie is wrong, the question is asked again over TCP, which cannot be forged from afar; what the server says there decides
// whether case or cookie is expected of it further on. Answers that repeat no question are believed to be errors, nothing more.
//
// Queries carry EDNS with 1232 bytes, never the client's subnet (RFC 7871). To servers over TLS and HTTPS they are padded and carry
// no cookie. Servers that do not understand are asked simpler, and [Group.Status] says so.
//
// # Loops
//
// Each query carries the tokens of the resolvers it came through in the [LoopOption]. Who answers queries looks for [Pool.Token] in
// them with [HasToken], refuses those that have it, and hands the option's data on in Query.Via.
//
// # Bounds
//
// Questions in flight (Config.MaxInFlight), sockets, servers of a group, tokens passed on, the size of messages, and the time of
// everything. Health is shared by all groups that name a server, and kept for ten minutes after the last of them.
//
// # Goroutines
//
// Run is the timekeeper: it ends what has had its time, probes, sweeps, and closes. It owns a goroutine for each UDP socket, three for
// each connection, and one for each question over HTTPS (net/http has its own beside them), and returns when all have ended. They
// call back; Ask sends a question itself, without waiting, so that nobody needs to be woken for it.
//
// One mutex guards all that changes, because a question crosses questions, servers and sockets; no system call and no callback is
// made under it. What is decided under it is written down in a work, and done afterwards.
package upstream
