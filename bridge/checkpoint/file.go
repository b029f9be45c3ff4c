package checkpoint

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"io/fs"
	"os"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/keepfile"
)

// A file is a first line with the version, then for the state and the window's snapshot each their length (8 bytes, big-endian) and
// themselves, then the SHA-256 of all before it.
const (
	product = "isthmus-bridge-checkpoint/"
	first   = product + "1\n"
)

// File is the checkpoint of one bridge. It has one writer.
type File struct{ path string }

// Open names the file; Write makes it.
func Open(path string) *File { return &File{path: path} }

// Read returns the state, nil when there is no file. Invalid: it is damaged, or of a newer version; nothing is changed.
func (f *File) Read() (*State, error) {
	b, err := os.ReadFile(f.path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fault.Newf("checkpoint.Read", fault.Unavailable, "the checkpoint %s cannot be read", f.path).Because(err)
	}
	s, why := Parse(b)
	if why != "" {
		return nil, fault.Newf("checkpoint.Read", fault.Invalid, "the checkpoint %s %s", f.path, why).
			Advise("put it back from a backup; or move it away: the bridge then goes on from what the control plane knows, and marks all it may have sent as repeats")
	}
	return s, nil
}

// Write replaces the file. When it returns nil the state is on the disk.
func (f *File) Write(s *State) error {
	b, err := Append(nil, s)
	if err == nil {
		err = keepfile.Write(f.path, b)
	}
	if err != nil {
		return fault.Newf("checkpoint.Write", fault.Unavailable, "the checkpoint %s cannot be written", f.path).
			Advise("see that the disk is not full and the folder belongs to this process").Because(err)
	}
	return nil
}

// Append appends the file's content.
func Append(to []byte, s *State) ([]byte, error) {
	text, err := json.Marshal(s)
	if err != nil {
		return nil, err
	}
	begin := len(to)
	to = append(to, first...)
	for _, part := range [][]byte{text, s.Window} {
		to = append(binary.BigEndian.AppendUint64(to, uint64(len(part))), part...)
	}
	sum := sha256.Sum256(to[begin:])
	return append(to, sum[:]...), nil
}

// Parse reads a file's content, or says what is wrong with it.
func Parse(b []byte) (s *State, why string) {
	if !bytes.HasPrefix(b, []byte(first)) {
		if bytes.HasPrefix(b, []byte(product)) {
			return nil, "is of another version of this program"
		}
		return nil, "is no checkpoint of a bridge"
	}
	if len(b) < len(first)+sha256.Size {
		return nil, "is cut off"
	}
	body, sum := b[:len(b)-sha256.Size], b[len(b)-sha256.Size:]
	if want := sha256.Sum256(body); !bytes.Equal(sum, want[:]) {
		return nil, "is damaged"
	}
	rest := body[len(first):]
	var parts [2][]byte
	for i := range parts {
		if len(rest) < 8 || binary.BigEndian.Uint64(rest) > uint64(len(rest)-8) {
			return nil, "is damaged"
		}
		n := int(binary.BigEndian.Uint64(rest))
		parts[i], rest = rest[8:8+n], rest[8+n:]
	}
	s = &State{}
	if len(rest) > 0 || json.Unmarshal(parts[0], s) != nil {
		return nil, "is damaged"
	}
	if s.Partitions == nil {
		s.Partitions = map[string]Partition{}
	}
	if len(parts[1]) > 0 {
		s.Window = bytes.Clone(parts[1])
	}
	return s, ""
}
