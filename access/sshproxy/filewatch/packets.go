package filewatch

import "encoding/binary"

// The packet types of SFTP that are looked at.
const (
	sshFxpOpen     = 3
	sshFxpClose    = 4
	sshFxpRead     = 5
	sshFxpWrite    = 6
	sshFxpSetstat  = 9
	sshFxpFsetstat = 10
	sshFxpRemove   = 13
	sshFxpMkdir    = 14
	sshFxpRmdir    = 15
	sshFxpRename   = 18
	sshFxpSymlink  = 20
	sshFxpStatus   = 101
	sshFxpHandle   = 102
	sshFxpData     = 103
	sshFxpExtended = 200
)

// maxCollected is the longest packet that is looked at as a whole: two paths and attributes. OpenSSH takes paths of 4096 bytes.
const maxCollected = 64 << 10

// packets cuts one direction of SFTP into packets. Those with content (WRITE, DATA) are told with what stands before it, and then the
// content in pieces; of others that matter all is told; the rest is skipped, whatever its length.
type packets struct {
	collect func(kind byte) int                // how many bytes behind the type to collect; -1: all of it
	packet  func(kind byte, body []byte) error // what was collected
	content func(p []byte)                     // of the WRITE or DATA that was told before

	buf     []byte // length, type, and what is collected
	want    int    // bytes of buf until the next look
	left    uint32 // bytes of the packet behind buf
	passing bool   // content passes, or what is skipped
	hashing bool   // it is content
}

// feed takes bytes of any number.
func (s *packets) feed(p []byte) error {
	for len(p) > 0 {
		if s.passing {
			n := uint32(min(int64(len(p)), int64(s.left)))
			if s.hashing {
				s.content(p[:n])
			}
			p = p[n:]
			if s.left -= n; s.left == 0 {
				s.begin()
			}
			continue
		}
		if s.want == 0 {
			s.want = 5
		}
		n := min(len(p), s.want-len(s.buf))
		s.buf = append(s.buf, p[:n]...)
		p = p[n:]
		if len(s.buf) == s.want {
			if err := s.look(); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *packets) begin() {
	s.buf, s.want, s.left, s.passing, s.hashing = s.buf[:0], 5, 0, false, false
}

// look decides what to do with what is in buf.
func (s *packets) look() error {
	length, kind, body := binary.BigEndian.Uint32(s.buf), s.buf[4], s.buf[5:]
	if length == 0 {
		return lost("a packet is empty")
	}
	rest := length - 1 // behind the type
	want := s.collect(kind)
	switch {
	case kind == sshFxpWrite && want > 0: // id, handle, offset, length of the content
		want = 8
		if len(body) >= 8 {
			h := binary.BigEndian.Uint32(body[4:])
			if h > maxHandle {
				return lost("a handle is too long")
			}
			want = 8 + int(h) + 12
		}
	case want < 0:
		if rest > maxCollected {
			return lost("a packet is too long")
		}
		want = int(rest)
	}
	if uint32(want) > rest {
		return lost("a packet is too short")
	}
	if len(body) < want {
		s.want = 5 + want
		return nil
	}
	s.left, s.passing = rest-uint32(want), true
	if want > 0 || s.collect(kind) != 0 {
		if kind == sshFxpWrite || kind == sshFxpData {
			if s.hashing = true; binary.BigEndian.Uint32(body[len(body)-4:]) != s.left {
				return lost("a packet's content has another length than it says")
			}
		}
		if err := s.packet(kind, body); err != nil {
			return err
		}
	}
	if s.left == 0 {
		s.begin()
	}
	return nil
}

// text takes a string off the front of a packet.
func text(p []byte) (s string, rest []byte, ok bool) {
	if len(p) < 4 {
		return "", nil, false
	}
	n := binary.BigEndian.Uint32(p)
	if uint64(n) > uint64(len(p)-4) {
		return "", nil, false
	}
	return string(p[4 : 4+n]), p[4+n:], true
}
