package twin

import (
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/isthmus-io/isthmus/fault"
)

const opRead = "twin.Read"

// node is a value with its key. An object has no text and its kids sorted by key; everything else is text, canonical JSON.
type node struct {
	key     string
	text    string
	kids    []node
	size    int   // of a value that is no object, as the limits count it
	at      int64 // 100 ns since 1970 when it was last written; 0 for never
	version int64 // of the part when it was last written; 0 where none is kept
}

func (n *node) isObject() bool { return n.text == "" }
func (n *node) isNull() bool   { return n.text == "null" }

// reader reads JSON. It is strict about RFC 8259, refuses a key that is given twice, and checks the limits of one value while it reads.
type reader struct {
	in    string
	at    int
	path  []string // of the value being read; an array's elements are "[]"
	free  int      // how many keys of path are around the part being read
	loose bool     // what is read now was checked before, or is kept by nobody: any key and number, any depth up to maxLoose
	kids  []node   // of objects whose end was not reached yet
	slab  *slab    // for those of objects that are read
}

// maxLoose bounds the stack when something is read only to be passed over.
const maxLoose = 64

// open begins to read what a stranger sent; path is the place of the value.
func open(in []byte, most int, path ...string) (*reader, error) {
	if len(in) > most {
		return nil, fault.Newf(opRead, fault.TooLarge, "the text has %d bytes, %d are allowed", len(in), most)
	}
	if !utf8.Valid(in) {
		return nil, fault.New(opRead, fault.Invalid, "the text is not valid UTF-8").Advise("send JSON as UTF-8")
	}
	return &reader{in: string(in), path: append(make([]string, 0, MaxDepth+4), path...), free: len(path), slab: &slab{}}, nil
}

// where names the value being read.
func (r *reader) where() string { return place(r.path) }

func place(path []string) string {
	if len(path) == 0 {
		return "the document"
	}
	var b strings.Builder
	for i, p := range path {
		if i > 0 && p != "[]" {
			b.WriteByte('.')
		}
		if len(p) > 64 {
			p = strings.ToValidUTF8(p[:64], "") + "…"
		}
		b.WriteString(strings.Map(printable, p))
		if b.Len() > 256 {
			b.WriteString("…")
			break
		}
	}
	return b.String()
}

func printable(c rune) rune {
	if c < ' ' || c >= 0x7f && c < 0xa0 {
		return '?'
	}
	return c
}

func (r *reader) wrong(format string, args ...any) error {
	return fault.Newf(opRead, fault.Invalid, r.where()+": "+format, args...)
}

func (r *reader) syntax(want string) error {
	if r.at >= len(r.in) {
		return fault.Newf(opRead, fault.Invalid, "the text is no JSON: it ends where %s should be", want)
	}
	c, _ := utf8.DecodeRuneInString(r.in[r.at:])
	return fault.Newf(opRead, fault.Invalid, "the text is no JSON: at byte %d (%s) is %q where %s should be", r.at, strings.ReplaceAll(r.where(), "%", "%%"), c, want)
}

func (r *reader) space() {
	for r.at < len(r.in) {
		switch r.in[r.at] {
		case ' ', '\n', '\r', '\t':
			r.at++
		default:
			return
		}
	}
}

// next is the byte at which the next value or mark begins, 0 at the end.
func (r *reader) next() byte {
	r.space()
	if r.at < len(r.in) {
		return r.in[r.at]
	}
	return 0
}

func (r *reader) end() error {
	if r.space(); r.at < len(r.in) {
		return r.syntax("the end")
	}
	return nil
}

// value reads a value.
func (r *reader) value() (n node, err error) {
	switch c := r.next(); c {
	case '{':
		n.kids, err = r.object()
	case '[':
		var text []byte
		text, n.size, err = r.array(make([]byte, 0, 64))
		n.text = string(text)
	default:
		n.text, n.size, err = r.scalar(c)
	}
	return n, err
}

// deeper checks that one more object or array may begin here.
func (r *reader) deeper() error {
	switch depth := len(r.path) - r.free; {
	case r.loose && depth > maxLoose:
		return r.wrong("objects and arrays are nested deeper than %d", maxLoose)
	case !r.loose && depth > MaxDepth:
		return r.wrong("objects and arrays are nested deeper than %d", MaxDepth)
	}
	return nil
}

// object reads an object and returns its members by key; r.at is at its brace.
func (r *reader) object() ([]node, error) {
	if err := r.deeper(); err != nil {
		return nil, err
	}
	r.at++
	if r.next() == '}' {
		r.at++
		return nil, nil
	}
	base, sorted := len(r.kids), true
	for {
		key, err := r.key()
		if err != nil {
			return nil, err
		}
		kept, err := r.member(key)
		if err != nil {
			return nil, err
		}
		if kept && len(r.kids) > base+1 && r.kids[len(r.kids)-2].key >= key {
			sorted = false
		}
		if more, err := r.more('}'); err != nil {
			return nil, err
		} else if !more {
			break
		}
	}
	kids := r.slab.take(len(r.kids) - base)
	copy(kids, r.kids[base:])
	r.kids = r.kids[:base]
	if !sorted {
		slices.SortStableFunc(kids, func(a, b node) int { return strings.Compare(a.key, b.key) })
		for i := 1; i < len(kids); i++ {
			if kids[i].key == kids[i-1].key {
				r.path = append(r.path, kids[i].key)
				return nil, r.wrong("the key is given twice")
			}
		}
	}
	return kids, nil
}

// member reads the value of a member to the end of r.kids. What the hub keeps itself, at the top of a part, is read and not kept, so
// that somebody may send back what he read.
func (r *reader) member(key string) (kept bool, err error) {
	top := len(r.path) == r.free
	r.path = append(r.path, key)
	if top && !r.loose && (key == "$metadata" || key == "$version") {
		err = r.skip()
	} else if err = r.name(key); err == nil {
		var n node
		n, err = r.value()
		n.key, kept = key, true
		r.kids = append(r.kids, n)
	}
	if err == nil {
		r.path = r.path[:len(r.path)-1]
	}
	return kept, err
}

// skip passes a value over.
func (r *reader) skip() error {
	r.loose = true
	_, err := r.value()
	r.loose = false
	return err
}

// more tells whether another member or element follows, and steps over the mark.
func (r *reader) more(closing byte) (bool, error) {
	switch r.next() {
	case ',':
		r.at++
		return true, nil
	case closing:
		r.at++
		return false, nil
	}
	return false, r.syntax("a comma or " + string(rune(closing)))
}

// key reads a member's name and the colon.
func (r *reader) key() (string, error) {
	if r.next() != '"' {
		return "", r.syntax("a key in double quotes")
	}
	key, err := r.text()
	if err != nil {
		return "", err
	}
	if r.next() != ':' {
		return "", r.syntax("a colon")
	}
	r.at++
	return key, nil
}

// name checks a key by the rules of twins.
func (r *reader) name(key string) error {
	if r.loose {
		return nil
	}
	if key == "" {
		return r.wrong("a key is empty")
	}
	if len(key) > MaxKey {
		return r.wrong("the key has %d bytes, %d are allowed", len(key), MaxKey)
	}
	for _, c := range key {
		switch {
		case c == '.' || c == '$' || c == ' ':
			return r.wrong("a key may not hold %q", c)
		case c < ' ' || c >= 0x7f && c < 0xa0:
			return r.wrong("a key may not hold the control character %U", c)
		}
	}
	return nil
}

// array reads an array to the end of out and returns its size; r.at is at its bracket.
func (r *reader) array(out []byte) ([]byte, int, error) {
	if err := r.deeper(); err != nil {
		return out, 0, err
	}
	r.at++
	out = append(out, '[')
	if r.next() == ']' {
		r.at++
		return append(out, ']'), 0, nil
	}
	r.path = append(r.path, "[]")
	size := 0
	for {
		var s int
		var err error
		if out, s, err = r.within(out); err != nil {
			return out, 0, err
		}
		size += s
		if more, err := r.more(']'); err != nil {
			return out, 0, err
		} else if !more {
			break
		}
		out = append(out, ',')
	}
	r.path = r.path[:len(r.path)-1]
	return append(out, ']'), size, nil
}

// within reads a value inside an array to the end of out.
func (r *reader) within(out []byte) ([]byte, int, error) {
	switch c := r.next(); c {
	case '[':
		return r.array(out)
	case '{':
		kids, err := r.object()
		n := node{kids: kids}
		return n.appendTo(out), n.total(), err
	default:
		text, size, err := r.scalar(c)
		return append(out, text...), size, err
	}
}
