package azureexport

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"slices"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
)

const opRead = "azureexport.Read"

// Read calls each for everything that a file holds, in its order, and says by form what the file is. A thing that is wrong comes as a Wrong
// and the reading goes on; Invalid, with the place, where the file itself is broken and nothing more can be read; TooLarge. What each returns
// ends the reading.
func Read(r io.Reader, each func(at At, t Thing) error) error {
	b := bufio.NewReaderSize(plain(r), 256<<10)
	first, whole, err := line(b)
	if err != nil && !errors.Is(err, io.EOF) {
		return fault.Wrap(opRead, fault.Unavailable, err, "the file cannot be read")
	}
	if whole && isLine(first) {
		return readLines(first, b, each)
	}
	return readDocuments(io.MultiReader(bytes.NewReader(first), b), each)
}

// line reads up to the end of a line; whole is false when there is more of it than may be held.
func line(b *bufio.Reader) (text []byte, whole bool, err error) {
	for {
		part, err := b.ReadSlice('\n')
		text = append(text, part...)
		switch {
		case err == nil:
			return text, true, nil
		case errors.Is(err, io.EOF):
			return text, true, err
		case !errors.Is(err, bufio.ErrBufferFull):
			return text, false, err
		case len(text) > MaxThing:
			return text, false, nil
		}
	}
}

// containers are members that hold many things: of az iot hub state export, of lists, of templates.
var containers = []string{"devices", "modules", "configurations", "arm", "resources", "value", "items", "parameters"}

// isLine tells whether a line is a thing of its own, as in devices.txt, and not a document that is written without line ends.
func isLine(text []byte) bool {
	text = bytes.TrimSpace(text)
	if len(text) == 0 || text[0] != '{' || !json.Valid(text) {
		return false
	}
	var o object
	if json.Unmarshal(text, &o) == nil && (o.DeviceID != "" || o.ID != "") {
		return true
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(text, &members) != nil {
		return false
	}
	for k := range members {
		if slices.Contains(containers, k) {
			return false
		}
	}
	return true
}

func readLines(first []byte, b *bufio.Reader, each func(At, Thing) error) error {
	text, err := first, error(nil)
	for n := 1; err == nil || len(text) > 0; n++ {
		at := At{Line: n}
		switch trimmed := bytes.TrimSpace(text); {
		case len(text) > MaxThing:
			if err := each(at, tooLong()); err != nil {
				return err
			}
		case len(trimmed) > 0:
			if err := recognise(at, trimmed, each); err != nil {
				return err
			}
		}
		if err == nil {
			text, err = next(text[:0], b)
		} else {
			text = nil
		}
	}
	if errors.Is(err, io.EOF) {
		return nil
	}
	return fault.Wrap(opRead, fault.Unavailable, err, "the file cannot be read")
}

// next reads a line whole, and of one that is too long as much as shows that.
func next(text []byte, b *bufio.Reader) ([]byte, error) {
	for {
		part, err := b.ReadSlice('\n')
		if len(text) <= MaxThing {
			text = append(text, part...)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return text, err
		}
	}
}

func tooLong() *Wrong {
	return &Wrong{fault.Newf(opRead, fault.TooLarge, "it is longer than %d bytes", MaxThing)}
}

// documents reads JSON documents, one after the other.
type documents struct {
	meter *meter
	dec   *json.Decoder
	each  func(At, Thing) error
}

func readDocuments(r io.Reader, each func(At, Thing) error) error {
	m := &meter{in: r}
	m.reset()
	d := &documents{m, json.NewDecoder(m), each}
	for n := 0; ; n++ {
		first, err := d.token()
		switch {
		case errors.Is(err, io.EOF) && n > 0:
			return nil
		case errors.Is(err, io.EOF):
			return fault.New(opRead, fault.Invalid, "the file is empty").Advise("did the command that wrote it fail?")
		case err == nil:
			err = d.document(first)
		}
		if err != nil {
			return d.broken(err)
		}
	}
}

// stopped is an error of each, which is nobody's fault here.
type stopped struct{ error }

func (s stopped) Unwrap() error { return s.error }

func (d *documents) give(at At, t Thing) error {
	if err := d.each(at, t); err != nil {
		return stopped{err}
	}
	return nil
}

func (d *documents) broken(err error) error {
	if s, ok := errors.AsType[stopped](err); ok {
		return s.error
	}
	if f, ok := errors.AsType[*fault.Error](err); ok {
		return f
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fault.Newf(opRead, fault.Invalid, "the file ends in the middle, after %d bytes", d.dec.InputOffset()).
			Advise("was it copied whole? Export it again").Because(err)
	}
	if s, ok := errors.AsType[*json.SyntaxError](err); ok {
		return fault.Newf(opRead, fault.Invalid, "the file is not JSON from byte %d on: %v", max(s.Offset, d.dec.InputOffset()), s).
			Advise("export as JSON: az … -o json, or the devices.txt of an export job").Because(err)
	}
	return fault.Wrap(opRead, fault.Unavailable, err, "the file cannot be read")
}

func (d *documents) token() (json.Token, error) {
	d.meter.reset()
	return d.dec.Token()
}

// raw reads one value whole.
func (d *documents) raw() (json.RawMessage, error) {
	d.meter.reset()
	var v json.RawMessage
	err := d.dec.Decode(&v)
	return v, err
}

// array reads the elements of an array that was entered; each of them is a thing.
func (d *documents) array(path string) error {
	for n := 0; d.more(); n++ {
		v, err := d.raw()
		if err != nil {
			return err
		}
		if err := d.one(At{Path: path + "[" + strconv.Itoa(n) + "]"}, v); err != nil {
			return err
		}
	}
	_, err := d.token()
	return err
}

// object reads the members of an object that was entered.
func (d *documents) object(member func(key string) error) error {
	for d.more() {
		t, err := d.token()
		if err != nil {
			return err
		}
		key, ok := t.(string)
		if !ok {
			return fault.New(opRead, fault.Invalid, "the file is not JSON")
		}
		if err := member(key); err != nil {
			return err
		}
	}
	_, err := d.token()
	return err
}

// pass reads over what began with a token.
func (d *documents) pass(first json.Token) error {
	depth := 0
	for t := first; ; {
		switch t {
		case json.Delim('{'), json.Delim('['):
			depth++
		case json.Delim('}'), json.Delim(']'):
			depth--
		}
		if depth == 0 {
			return nil
		}
		var err error
		if t, err = d.token(); err != nil {
			return err
		}
	}
}

func (d *documents) more() bool {
	d.meter.reset()
	return d.dec.More()
}

func (d *documents) one(at At, v json.RawMessage) error {
	return recognise(at, v, d.give)
}
