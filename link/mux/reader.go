package mux

import (
	"encoding/binary"
	"errors"
	"io"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/tunnel"
)

// readLoop is the reading goroutine. It ends when the connection does.
func (s *Session) readLoop() {
	err := s.read()
	var f *fault.Error
	switch {
	case errors.As(err, &f) && f.Kind == fault.Invalid:
		s.end(err, endTelling)
	case errors.Is(err, io.EOF):
		s.mu.Lock()
		words := "the peer closed the tunnel"
		if s.goAway.remote && s.goAway.remoteOf != "" {
			words += ": " + s.goAway.remoteOf
		}
		s.mu.Unlock()
		s.end(fault.Wrap("mux.Run", fault.Unavailable, notEOF(err), words), endNow)
	default:
		s.end(fault.Wrap("mux.Run", fault.Unavailable, err, "the tunnel's connection broke"), endNow)
	}
	// The writer closes the connection; until then a peer that talks on must not find its socket full.
	_, _ = io.Copy(io.Discard, &s.in)
}

// notEOF keeps the end of a connection from being taken for the end of a stream, which io.EOF means to whoever reads one.
func notEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

func (s *Session) read() error {
	for {
		b, err := s.src.Peek(tunnel.HeaderLen)
		if err != nil {
			return err
		}
		h, err := tunnel.ParseHeader(b)
		if err != nil {
			return err
		}
		if _, err := s.src.Discard(tunnel.HeaderLen); err != nil {
			return err
		}
		if h.Type == tunnel.TypeData {
			err = s.readData(h)
		} else {
			payload := s.small[:h.Length] // Check has bounded it by MaxFlow
			if _, err := io.ReadFull(s.src, payload); err != nil {
				return err
			}
			err = s.control(h, payload)
		}
		if err != nil {
			return err
		}
	}
}

func (s *Session) control(h tunnel.Header, payload []byte) error {
	switch h.Type {
	case tunnel.TypeOpen:
		return s.onOpen(h, payload)
	case tunnel.TypePing:
		return s.onPing(h, binary.BigEndian.Uint64(payload))
	case tunnel.TypeGoAway:
		code, message, err := tunnel.ParseReason(payload)
		if err != nil {
			return err
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.goAway.remote, s.goAway.remoteOf = true, message
		if message == "" {
			s.goAway.remoteOf = code.String()
		}
		return nil
	}
	st, err := s.find(h)
	if err != nil || st == nil {
		return err
	}
	switch h.Type {
	case tunnel.TypeAccept:
		return s.onAccept(st)
	case tunnel.TypeWindow:
		credit, err := tunnel.ParseWindow(payload)
		if err != nil {
			return err
		}
		return s.onWindow(st, credit)
	case tunnel.TypeFin:
		return s.onFin(st)
	default: // Reset
		code, message, err := tunnel.ParseReason(payload)
		if err != nil {
			return err
		}
		st.kill(&ResetError{Code: code, Message: message, Remote: true})
		return nil
	}
}

// find returns the stream of a frame; nil when it has been forgotten, so that the frame was under way when the stream ended. A frame
// for a stream that never was is an error.
func (s *Session) find(h tunnel.Header) (*Stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[h.Stream]; st != nil {
		return st, nil
	}
	if s.over {
		return nil, nil
	}
	if s.isOurs(h.Stream) && h.Stream >= s.nextID || !s.isOurs(h.Stream) && h.Stream > s.lastID {
		return nil, protocolError("the peer sent %s for stream %d, which was never opened", h.Type, h.Stream)
	}
	return nil, nil
}

// isOurs says which side opens the id: odd ones the client.
func (s *Session) isOurs(id uint32) bool { return (id&1 == 1) == s.client }

func (s *Session) onOpen(h tunnel.Header, payload []byte) error {
	f, err := tunnel.ParseFlow(payload)
	if err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil
	}
	if s.isOurs(h.Stream) || h.Stream <= s.lastID || h.Stream >= endOfIDs {
		return protocolError("the peer opened stream %d, whose number is not its own, was used before or is too great", h.Stream)
	}
	s.lastID = h.Stream
	switch {
	case s.goAway.local:
		return s.refuse(h.Stream, tunnel.ResetShuttingDown, "no new flows")
	case s.inbound >= s.cfg.MaxStreams || len(s.backlog) == cap(s.backlog):
		return s.refuse(h.Stream, tunnel.ResetOverloaded, "too many flows")
	}
	st := s.newStream(h.Stream, f, false)
	s.inbound++
	s.accepted.Add(1)
	s.backlog <- st // there is room: only this goroutine sends
	if s.cfg.InitialWindow > tunnel.InitialWindow {
		st.grant = s.cfg.InitialWindow - tunnel.InitialWindow
		s.schedule(st)
	}
	return nil
}

// refuse answers an Open that gets no stream, under s.mu.
func (s *Session) refuse(id uint32, code tunnel.ResetCode, message string) error {
	if len(s.refused) >= maxRefused {
		return protocolError("the peer opens streams faster than it reads their refusals")
	}
	s.refused = append(s.refused, refusal{id, code, message})
	s.rouse()
	return nil
}

func (s *Session) onPing(h tunnel.Header, token uint64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if h.Flags&tunnel.FlagReply == 0 {
		if len(s.pongs) >= maxPongs {
			return protocolError("the peer sends pings faster than it reads the replies")
		}
		s.pongs = append(s.pongs, token)
		s.rouse()
		return nil
	}
	if s.ping.await && token == s.ping.token {
		s.ping.await = false
		s.measured(max(s.cfg.Clock.Now().Sub(s.ping.sent), time.Microsecond))
	}
	return nil
}

func (s *Session) onAccept(st *Stream) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !st.local || st.accepted {
		return protocolError("the peer accepted stream %d, which it may not or already has", st.id)
	}
	st.accepted = true
	s.awaitNoMore(st)
	st.wcond.Broadcast()
	return nil
}

func (s *Session) onWindow(st *Stream, credit uint32) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if st.credit+int64(credit) > tunnel.MaxWindow {
		return protocolError("the peer gave stream %d more credit than may be outstanding", st.id)
	}
	st.credit += int64(credit)
	if st.waiting > 0 {
		st.wcond.Broadcast()
	}
	return nil
}

func (s *Session) onFin(st *Stream) error {
	if !st.finishReading() {
		return protocolError("the peer ended stream %d twice", st.id)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	st.finReceived = true
	s.forgetIfDone(st)
	return nil
}

// readData reads a payload into the memory of its stream.
func (s *Session) readData(h tunnel.Header) error {
	st, err := s.find(h)
	if err != nil {
		return err
	}
	n := int(h.Length)
	if st == nil {
		_, err := s.src.Discard(n)
		return err
	}
	switch st.admit(n) {
	case overrun:
		return protocolError("the peer sent %d bytes on stream %d beyond its credit or its end", n, st.id)
	case unwanted:
		_, err := s.src.Discard(n)
		st.Reset(tunnel.ResetPeer, "closed by its reader")
		return err
	}
	s.received.Add(uint64(n))
	if n <= smallFrame {
		p := s.small[:n]
		if _, err := io.ReadFull(s.src, p); err != nil {
			return err
		}
		if !st.deliverCopy(p) {
			st.Reset(tunnel.ResetOverloaded, "its reader is too slow for the memory there is")
		}
		return nil
	}
	seg := newSegment(n)
	if _, err := io.ReadFull(s.src, seg.buf[:n]); err != nil {
		seg.free()
		return err
	}
	seg.w = n
	if !st.deliver(seg) {
		st.Reset(tunnel.ResetOverloaded, "its reader is too slow for the memory there is")
	}
	return nil
}
