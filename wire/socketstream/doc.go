// Package socketstream is a WebSocket as a stream of bytes: binary messages one after the other, whose bounds mean nothing. It is for the
// ends of device streams and for the hub between them.
//
// WebSockets end both ways at once (RFC 6455, 5.5.1). Two peers who both know [Subprotocol] can end one way and go on with the other: an
// empty message says that no more bytes follow. Nobody else is shown anything new.
//
// Invariants:
//   - a text message ends the stream;
//   - whoever says nothing about the subprotocol gets plain bytes, and empty messages are passed over;
//   - a deadline that passes ends the stream, as does the context it was made with;
//   - after the peer has ended its way, the loss of the connection is still noticed: [Conn.Gone].
//
// A stream has a goroutine only while its peer has ended its way and ours goes on; it ends with the connection.
package socketstream
