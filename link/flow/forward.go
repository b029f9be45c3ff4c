package flow

import (
	"errors"

	"github.com/isthmus-io/isthmus/link/mux"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

const (
	socketEnded uint32 = 1 << iota // the socket said end of data, and the stream was told
	streamEnded                    // the stream said end of data, and the socket was told
)

// forward carries bytes until both directions have ended or one of them broke. It returns the reset which the other end of the
// stream sent, if that is what ended it.
func (f *flow) forward() *mux.ResetError {
	f.other.Add(1)
	go f.forwardSocket()
	reset := f.forwardStream()
	f.other.Wait()
	return reset
}

// forwardSocket moves bytes from the socket to the stream, which takes a buffer only when the socket has something to read.
func (f *flow) forwardSocket() {
	defer f.other.Done()
	n, err := f.moveSocket()
	f.finalRead(n)
	if err == nil {
		f.said.Store(true)
		err = f.stream.CloseWrite()
	}
	if err != nil {
		// Whichever of the two broke, the other one goes with it. When it was the stream, forwardStream tells why.
		f.sever(tunnel.ResetPeer, "")
		return
	}
	if f.end(socketEnded) {
		return
	}
	// A peer that has said all it had to say may still go away hard while it listens.
	if awaitReset(f.socket) != nil {
		f.sever(tunnel.ResetPeer, "")
	}
}

// forwardStream moves bytes from the stream to the socket.
func (f *flow) forwardStream() *mux.ResetError {
	err := f.moveStream()
	if err == nil {
		err = f.socket.CloseWrite()
	}
	if err != nil {
		f.sever(tunnel.ResetPeer, "")
		reset, _ := errors.AsType[*mux.ResetError](err)
		return reset
	}
	if f.end(streamEnded) {
		return nil
	}
	// A stream that has said all it had to say may still be reset or lost, which nobody learns who does not read it. Once the socket
	// has said all, forwardSocket brings the flow to its end.
	<-f.stream.Done()
	if !f.said.Load() {
		f.sever(tunnel.ResetPeer, "")
	}
	return nil
}

// end notes that a direction ended in order, and lets go of everything when it was the last.
func (f *flow) end(direction uint32) bool {
	if f.ended.Or(direction)|direction != socketEnded|streamEnded {
		return false
	}
	_ = f.socket.Close()
	_ = f.stream.Close()
	return true
}
