package filewatch

import (
	"crypto/sha256"
	"encoding/hex"
	"hash"
	"strconv"
	"strings"
	"sync"

	"github.com/isthmus-io/isthmus/access/session"
)

// Bounds of what one side can make an RCP hold.
const (
	maxRCPLine  = 4096 + 64 // a path of Linux, and what stands before it
	maxRCPAhead = 64 << 10  // bytes that came before the answer to what went before them
	maxRCPDepth = 256       // folders within folders
	maxRCPStray = 8         // words of the sink that nothing asked for: older ones have several about one file
)

// RCP watches the protocol of rcp: one side is the source, which sends lines and content, the other the sink, which answers each. What the
// source sends after a line means one thing or another by what the sink answers, so it is looked at when the answer is there.
type RCP struct {
	mu     sync.Mutex // guards the fields below
	told   Told
	upload bool
	err    error

	ahead   []byte   // from the source, not yet looked at
	line    []byte   // from the source, without its end yet
	folders []string // in which the files are
	entered bool     // the last line was a folder's
	state   rcpState
	name    string
	size    int64 // of the file, as announced
	left    int64 // of its content
	hash    hash.Hash
	whole   bool // the source sent all of it

	refused bool // the last of them said no
	message bool // the sink is in the midst of words
	words   int  // how long they are
	stray   int
}

type rcpState uint8

const (
	rcpStart       rcpState = iota // before the first answer, which nothing asked for
	rcpLine                        // lines of the source
	rcpLineAnswer                  // the answer to one that is not a file's
	rcpFileAnswer                  // the answer to a file's line
	rcpContent                     // of a file
	rcpVerdict                     // the source's byte behind the content
	rcpVerdictWord                 // and its words
	rcpDone                        // the sink's answer to all that
)

// NewRCP returns a watcher of a channel where scp -t (upload) or scp -f runs on the machine.
func NewRCP(upload bool, told Told) *RCP { return &RCP{upload: upload, told: told, hash: sha256.New()} }

// FromPerson implements Watcher.
func (r *RCP) FromPerson(p []byte) error { return r.from(r.upload, p) }

// FromMachine implements Watcher.
func (r *RCP) FromMachine(p []byte) error { return r.from(!r.upload, p) }

func (r *RCP) from(source bool, p []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.err != nil {
		return r.err
	}
	if source {
		r.source(p)
	} else {
		r.sink(p)
	}
	return r.err
}

// End implements Watcher.
func (r *RCP) End() {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch r.state {
	case rcpContent, rcpVerdict, rcpVerdictWord, rcpDone:
		r.file(false)
	}
	r.state = rcpLine
}

// sink counts answers and goes on with what waited for them.
func (r *RCP) sink(p []byte) {
	for _, c := range p {
		if r.err != nil {
			return
		}
		if r.message {
			r.message = c != '\n'
			if r.words++; r.words > maxRCPLine {
				r.err = lost("the sink has no end of words")
			}
			continue
		}
		if c > 2 {
			r.err = lost("an answer is none of the protocol")
			return
		}
		r.message, r.words = c != 0, 0 // 1 is an error, 2 the last one; words follow
		switch r.state {
		case rcpStart, rcpLineAnswer, rcpFileAnswer, rcpDone:
			r.refused, r.stray = c != 0, 0
			r.answered()
			if len(r.ahead) > 0 && r.err == nil {
				ahead := r.ahead
				r.ahead = nil
				r.source(ahead)
			}
		default:
			if r.stray++; r.stray > maxRCPStray {
				r.err = lost("there are answers to nothing")
			}
		}
	}
}

// answered goes on behind an answer.
func (r *RCP) answered() {
	switch r.state {
	case rcpFileAnswer:
		if r.refused {
			r.told.Note("not carried: " + Printable(r.name))
			break
		}
		r.state, r.left = rcpContent, r.size
		r.hash.Reset()
		if r.left == 0 {
			r.state = rcpVerdict
		}
		return
	case rcpLineAnswer:
		if r.refused && r.entered { // then the source leaves it out, and does not say that it ends
			r.folders = r.folders[:len(r.folders)-1]
		}
	case rcpDone:
		r.file(!r.refused && r.whole)
	}
	r.state = rcpLine
}

// source looks at what the source sent.
func (r *RCP) source(p []byte) {
	for len(p) > 0 && r.err == nil {
		switch r.state {
		case rcpStart, rcpLineAnswer, rcpFileAnswer, rcpDone:
			if len(r.ahead)+len(p) > maxRCPAhead {
				r.err = lost("the source does not wait for answers")
				return
			}
			r.ahead = append(r.ahead, p...)
			return
		case rcpContent:
			n := int64(len(p))
			n = min(n, r.left)
			r.hash.Write(p[:n])
			p = p[n:]
			if r.left -= n; r.left == 0 {
				r.state = rcpVerdict
			}
		case rcpVerdict:
			r.whole = p[0] == 0
			r.state = rcpDone
			if !r.whole {
				r.state = rcpVerdictWord
			}
			p = p[1:]
		case rcpVerdictWord, rcpLine:
			c := p[0]
			p = p[1:]
			if c != '\n' {
				if r.line = append(r.line, c); len(r.line) > maxRCPLine {
					r.err = lost("a line is too long")
				}
				continue
			}
			line := string(r.line)
			r.line = r.line[:0]
			if r.state == rcpVerdictWord {
				r.state = rcpDone
				continue
			}
			r.read(line)
		}
	}
}

// read understands a line.
func (r *RCP) read(line string) {
	if line == "" {
		r.err = lost("a line is empty")
		return
	}
	r.state, r.entered = rcpLineAnswer, false
	switch line[0] {
	case 'C', 'D': // Cmmmm <length> <filename>
		fields := strings.SplitN(line[1:], " ", 3)
		if len(fields) < 3 {
			r.err = lost("a line has no name")
			return
		}
		size, err := strconv.ParseInt(fields[1], 10, 64)
		if err != nil || size < 0 {
			r.err = lost("a line has no size")
			return
		}
		if line[0] == 'D' {
			if len(r.folders) == maxRCPDepth {
				r.err = lost("too many folders")
				return
			}
			r.folders, r.entered = append(r.folders, fields[2]), true
			return
		}
		r.name, r.size, r.whole = r.path(fields[2]), size, false
		r.state = rcpFileAnswer
	case 'E':
		if len(r.folders) > 0 {
			r.folders = r.folders[:len(r.folders)-1]
		}
	case 'T':
	case 1, 2: // the source's words about a file it cannot send; nobody answers
		r.told.Note("not carried: " + Printable(line[1:]))
		r.state = rcpLine
	default:
		r.err = lost("a line is none of the protocol")
	}
}

// path puts the folders before a name, as far as a record has room for.
func (r *RCP) path(name string) string {
	all, size := []string{name}, len(name)
	for i := len(r.folders) - 1; i >= 0 && size < 2*session.MaxText; i-- {
		all = append(all, r.folders[i])
		size += len(r.folders[i])
	}
	var b strings.Builder
	for i := len(all) - 1; i >= 0; i-- {
		b.WriteString(all[i])
		if i > 0 {
			b.WriteByte('/')
		}
	}
	return b.String()
}

// file tells of the file that is over.
func (r *RCP) file(good bool) {
	f := session.File{Name: Printable(r.name), Upload: r.upload, Size: r.size - r.left}
	if good {
		f.SHA256 = hex.EncodeToString(r.hash.Sum(nil))
	}
	r.told.File(f)
}
