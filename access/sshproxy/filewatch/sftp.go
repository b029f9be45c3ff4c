package filewatch

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"sync"

	"github.com/isthmus-io/isthmus/access/session"
)

// Bounds of what one side can make an SFTP hold.
const (
	maxHandle   = 256  // bytes; the draft's limit
	maxOpen     = 1024 // files
	maxRequests = 8192 // not answered yet
	maxOffset   = 1 << 62
)

// Flags of SSH_FXP_OPEN and of attributes.
const (
	openWrite  = 0x02
	openAppend = 0x04
	openCreate = 0x08
	openTrunc  = 0x10
	openExcl   = 0x20
	attrSize   = 0x01

	statusOK  = 0
	statusEOF = 1
)

// SFTP watches the file transfer protocol.
type SFTP struct {
	mu       sync.Mutex // guards the fields below
	told     Told
	err      error
	requests packets
	answers  packets
	pending  map[uint32]request
	open     map[string]*file
	hashed   hash.Hash // of the content that passes to the machine; nil: of none
	sums     hash.Hash // of the content that passes to the person
}

// request is one that has to be understood together with its answer.
type request struct {
	kind    byte
	file    *file
	name    string // of OPEN; otherwise what to note when it was done
	flags   uint32
	offset  uint64
	spoiled bool // of OPEN: something was copied before its answer came, and who knows whereto
}

// file is an open one.
type file struct {
	handle, name string
	flags        uint32

	up, down    stream
	outstanding int  // writes without an answer
	cut         bool // what stood behind what was written is gone
	spoiled     bool // what was written is not all that is in it
	atEnd       bool // the machine said that there is no more than was read
	closing     bool // the person asked for its end: the handle may be another file's from here on
}

// stream is what went by of a file in one direction.
type stream struct {
	hash   hash.Hash
	next   uint64 // where content that goes on in order begins
	size   uint64 // the end of what went by
	gaps   bool   // it did not go by in order
	passed bool
}

// put takes note of content that is about to pass, and returns what hashes it, nil when it is not in order.
func (s *stream) put(offset, length uint64) hash.Hash {
	s.passed = true
	s.size = max(s.size, offset+length)
	if s.hash == nil {
		s.hash = sha256.New()
	}
	if s.gaps = s.gaps || offset != s.next; s.gaps {
		return nil
	}
	s.next += length
	return s.hash
}

// NewSFTP returns a watcher of a channel with the subsystem sftp.
func NewSFTP(told Told) *SFTP {
	s := &SFTP{told: told, pending: map[uint32]request{}, open: map[string]*file{}}
	s.requests = packets{packet: s.request, content: func(p []byte) {
		if s.hashed != nil {
			s.hashed.Write(p)
		}
	}, collect: func(kind byte) int {
		switch kind {
		case sshFxpOpen, sshFxpClose, sshFxpRead, sshFxpSetstat, sshFxpFsetstat, sshFxpRemove, sshFxpMkdir, sshFxpRmdir, sshFxpRename, sshFxpSymlink, sshFxpExtended:
			return -1
		case sshFxpWrite:
			return 8
		}
		return 0
	}}
	s.answers = packets{packet: s.answer, content: func(p []byte) {
		if s.sums != nil {
			s.sums.Write(p)
		}
	}, collect: func(kind byte) int {
		switch kind {
		case sshFxpHandle:
			return -1
		case sshFxpStatus, sshFxpData:
			return 8
		}
		return 0
	}}
	return s
}

// FromPerson implements Watcher.
func (s *SFTP) FromPerson(p []byte) error { return s.from(&s.requests, p) }

// FromMachine implements Watcher.
func (s *SFTP) FromMachine(p []byte) error { return s.from(&s.answers, p) }

func (s *SFTP) from(direction *packets, p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.err == nil {
		s.err = direction.feed(p)
	}
	return s.err
}

// End implements Watcher.
func (s *SFTP) End() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, f := range s.open {
		s.over(f, false)
	}
	clear(s.open)
}

// request understands what the person asks for.
func (s *SFTP) request(kind byte, body []byte) error {
	if len(body) < 4 {
		return lost("a request has no number")
	}
	id, body := binary.BigEndian.Uint32(body), body[4:]
	first, rest, ok := text(body)
	if !ok {
		return lost("a request has no name")
	}
	r := request{kind: kind}
	switch kind {
	case sshFxpOpen:
		if len(rest) < 4 {
			return lost("a request to open has no flags")
		}
		r.name, r.flags = first, binary.BigEndian.Uint32(rest)
	case sshFxpClose:
		if r.file = s.open[first]; r.file != nil {
			r.file.closing = true
		}
	case sshFxpRead:
		if len(rest) < 12 {
			return lost("a request to read has no place")
		}
		if r.file, r.offset = s.file(first), binary.BigEndian.Uint64(rest); r.file == nil {
			return lost(unopened)
		}
		if r.offset > maxOffset {
			return lost("a request to read is beyond any file's end")
		}
	case sshFxpWrite:
		f := s.file(first)
		if s.hashed = nil; f == nil {
			return lost(unopened)
		}
		offset, length := binary.BigEndian.Uint64(rest), uint64(binary.BigEndian.Uint32(rest[8:]))
		if offset > maxOffset {
			return lost("a request to write is beyond any file's end")
		}
		r.file, s.hashed = f, f.up.put(offset, length)
		f.outstanding++
	case sshFxpFsetstat:
		f := s.file(first)
		if len(rest) < 12 || binary.BigEndian.Uint32(rest)&attrSize == 0 {
			return nil
		}
		if f == nil {
			return lost(unopened)
		}
		// OpenSSH's scp cuts a file that was there before to what it wrote, when all is written.
		r.file = f
		if binary.BigEndian.Uint64(rest[4:]) != f.up.next {
			f.spoiled = true
		}
	default:
		if r.name = s.deed(kind, first, rest); r.name == "" {
			return nil
		}
	}
	if kind != sshFxpOpen && r.file == nil && r.name == "" {
		return nil // of something that is not followed, such as a folder
	}
	if _, twice := s.pending[id]; twice || len(s.pending) == maxRequests {
		return lost("requests are not answered, or have the same number")
	}
	s.pending[id] = r
	return nil
}

// unopened is said of a handle that the machine has not given yet, or not any more: servers number their handles, so that one can be guessed,
// and used before it is known whose it is.
const unopened = "a handle is used that no open file has"

// file returns the open file of a handle; nil when there is none.
func (s *SFTP) file(handle string) *file {
	if f := s.open[handle]; f != nil && !f.closing {
		return f
	}
	return nil
}

// deed puts into words what a request does beside carrying files; empty when that is nothing.
func (s *SFTP) deed(kind byte, first string, rest []byte) string {
	second, _, _ := text(rest)
	switch kind {
	case sshFxpRemove:
		return "removed " + Printable(first)
	case sshFxpMkdir:
		return "made the folder " + Printable(first)
	case sshFxpRmdir:
		return "removed the folder " + Printable(first)
	case sshFxpRename:
		return "renamed " + Printable(first) + " to " + Printable(second)
	case sshFxpSymlink:
		return "linked " + Printable(first) + " and " + Printable(second) // servers do not agree which is which
	case sshFxpSetstat:
		return "changed the attributes of " + Printable(first)
	}
	switch first { // extensions, by name
	case "posix-rename@openssh.com", "hardlink@openssh.com":
		from, rest, _ := text(rest)
		to, _, _ := text(rest)
		if first == "hardlink@openssh.com" {
			return "linked " + Printable(from) + " as " + Printable(to)
		}
		return "renamed " + Printable(from) + " to " + Printable(to)
	case "lsetstat@openssh.com":
		return "changed the attributes of " + Printable(second)
	case "copy-data":
		for _, f := range s.open { // from one of them into another; which, matters to none of the others for long
			f.spoiled = true
		}
		for id, r := range s.pending {
			r.spoiled = true
			s.pending[id] = r
		}
		return "copied on the machine"
	case "fsync@openssh.com", "statvfs@openssh.com", "fstatvfs@openssh.com", "limits@openssh.com", "expand-path@openssh.com", "home-directory",
		"users-groups-by-id@openssh.com", "check-file", "check-file-handle", "check-file-name":
		return ""
	}
	return "used the extension " + Printable(first)
}

// answer understands what the machine says.
func (s *SFTP) answer(kind byte, body []byte) error {
	s.sums = nil
	if len(body) < 8 {
		return lost("an answer is too short")
	}
	id := binary.BigEndian.Uint32(body)
	r, ok := s.pending[id]
	if !ok {
		return nil
	}
	delete(s.pending, id)
	number := binary.BigEndian.Uint32(body[4:]) // of a status, or the length of content
	switch {
	case r.kind == sshFxpOpen && kind == sshFxpHandle:
		handle, _, ok := text(body[4:])
		if !ok || len(handle) > maxHandle || len(s.open) == maxOpen {
			return lost("too many files are open, or a handle is too long")
		}
		if before := s.open[handle]; before != nil {
			s.over(before, false)
		}
		s.open[handle] = &file{handle: handle, name: r.name, flags: r.flags, spoiled: r.spoiled}
	case r.kind == sshFxpRead && kind == sshFxpData:
		s.sums = r.file.down.put(r.offset, uint64(number))
	case kind != sshFxpStatus:
	case r.kind == sshFxpRead:
		f := r.file
		f.atEnd = f.atEnd || number == statusEOF && r.offset == f.down.next
	case r.kind == sshFxpWrite:
		r.file.outstanding--
		r.file.spoiled = r.file.spoiled || number != statusOK
	case r.kind == sshFxpFsetstat:
		r.file.cut = r.file.cut || number == statusOK
	case r.kind == sshFxpClose:
		if s.open[r.file.handle] == r.file {
			delete(s.open, r.file.handle)
			s.over(r.file, number == statusOK)
		}
	case r.name != "" && r.kind != sshFxpOpen && number == statusOK:
		s.told.Note(r.name)
	}
	return nil
}

// over tells of a file that is not open any more.
func (s *SFTP) over(f *file, closed bool) {
	if f.up.passed || f.flags&openWrite != 0 && f.flags&(openTrunc|openCreate) != 0 {
		// Content that stood there before may still be behind what was written.
		fresh := f.flags&openTrunc != 0 || f.flags&(openCreate|openExcl) == openCreate|openExcl
		all := (f.cut || fresh) && f.flags&openAppend == 0 && f.outstanding == 0
		s.tell(f, true, &f.up, closed && all && !f.spoiled)
	}
	if f.down.passed || f.atEnd {
		s.tell(f, false, &f.down, f.atEnd)
	}
}

func (s *SFTP) tell(f *file, upload bool, went *stream, whole bool) {
	out := session.File{Name: Printable(f.name), Upload: upload, Size: int64(went.size)}
	if whole && !went.gaps {
		if went.hash == nil {
			went.hash = sha256.New()
		}
		out.SHA256 = hex.EncodeToString(went.hash.Sum(nil))
	}
	s.told.File(out)
}
