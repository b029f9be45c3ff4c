package recording

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"filippo.io/age"

	"github.com/isthmus-io/isthmus/fault"
)

// Reader reads a recording's text, the asciicast.
type Reader struct {
	file  *bufio.Reader
	key   age.Identity
	id    []byte
	next  uint32
	text  []byte // of this segment, not yet read
	whole bool
	err   error // once text is empty
}

// Open reads what a Writer wrote, with the private half of one of its keys. A file that is none, and a key that is none, are Invalid; a key
// that it was not encrypted for is Denied. It reads the first segment; what is behind it is read when it is asked for.
func Open(r io.Reader, private string) (*Reader, error) {
	const op = "recording.Open"
	key, err := age.ParseX25519Identity(private)
	if err != nil {
		// The cause may hold parts of the key.
		return nil, fault.New(op, fault.Invalid, "this is not a private key for recordings").Advise("a private key begins with AGE-SECRET-KEY-1")
	}
	out := &Reader{file: bufio.NewReader(r), key: key}
	begin := make([]byte, len(magic))
	if _, err := io.ReadFull(out.file, begin); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return nil, fault.New(op, fault.Unavailable, "the recording could not be read").Because(err)
	}
	if string(begin) != magic {
		return nil, fault.New(op, fault.Invalid, "this is not a recording")
	}
	if out.segment(); out.err != nil && !errors.Is(out.err, io.EOF) {
		return nil, fault.Wrap(op, fault.Internal, out.err, "")
	}
	return out, nil
}

// Read implements io.Reader. Text that was recorded before a damaged place is returned before the error, which is Invalid. A recording whose
// end is missing ends like any other; see Whole.
func (r *Reader) Read(p []byte) (int, error) {
	for len(r.text) == 0 {
		if r.err != nil {
			return 0, r.err
		}
		r.segment()
	}
	n := copy(p, r.text)
	r.text = r.text[n:]
	return n, nil
}

// Whole tells, after Read returned io.EOF, whether the recording was ended in order. It was not when the writer was killed.
func (r *Reader) Whole() bool { return r.whole }

// segment reads the next segment into text, or sets err.
func (r *Reader) segment() {
	const op = "recording.Reader"
	if r.whole {
		r.err = io.EOF
		if _, err := r.file.ReadByte(); !errors.Is(err, io.EOF) {
			r.err = damaged(op, "there is something behind its end")
		}
		return
	}
	var length [4]byte
	sealed := []byte(nil)
	_, err := io.ReadFull(r.file, length[:])
	if n := binary.BigEndian.Uint32(length[:]); err == nil {
		if n > maxSealed {
			r.err = damaged(op, "a segment is longer than any can be")
			return
		}
		sealed = make([]byte, n)
		_, err = io.ReadFull(r.file, sealed)
	}
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF): // the writer was killed; what it had not finished is lost
		r.err = io.EOF
		return
	case err != nil:
		r.err = fault.New(op, fault.Unavailable, "the recording could not be read").Because(err)
		return
	}
	text, err := r.open(sealed)
	if err != nil {
		r.err = err
		return
	}
	r.text = text
}

// open decrypts a segment and checks that it is the next one.
func (r *Reader) open(sealed []byte) ([]byte, error) {
	const op = "recording.Reader"
	clear, err := age.Decrypt(bytes.NewReader(sealed), r.key)
	if _, ok := errors.AsType[*age.NoIdentityMatchError](err); ok && r.id == nil {
		return nil, fault.New(op, fault.Denied, "the recording is not encrypted for this key").Because(err)
	}
	if err != nil {
		return nil, damaged(op, "a segment cannot be decrypted").Because(err)
	}
	text, err := io.ReadAll(clear)
	if err != nil {
		return nil, damaged(op, "a segment cannot be decrypted").Because(err)
	}
	if len(text) < prefixSize {
		return nil, damaged(op, "a segment is too short")
	}
	id, number, flag := text[:16], binary.BigEndian.Uint32(text[16:20]), text[20]
	if r.id == nil {
		r.id = bytes.Clone(id)
	}
	if !bytes.Equal(id, r.id) || number != r.next {
		return nil, damaged(op, "segments are missing, or in another order than they were written")
	}
	r.next++
	r.whole = flag == lastFlag
	return text[prefixSize:], nil
}

func damaged(op, how string) *fault.Error {
	return fault.New(op, fault.Invalid, "the recording is damaged: "+how).Advise("compare its hash with that in the audit log")
}
