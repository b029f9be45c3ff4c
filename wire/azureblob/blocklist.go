package azureblob

import (
	"encoding/base64"
	"encoding/xml"
	"errors"
	"io"
	"strconv"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

const (
	MaxBlocks    = 50_000  // of one blob (Put Block List)
	MaxBlockID   = 64      // bytes of an id before base64
	MaxBlockList = 8 << 20 // bytes of a list: what MaxBlocks of the longest kind need, and some air
)

// Where a block of a list is to be taken from.
const (
	Latest      = "Latest"
	Uncommitted = "Uncommitted"
	Committed   = "Committed"
)

// Block is one entry of a list.
type Block struct {
	From string // Latest, Uncommitted or Committed
	ID   string // decoded
}

// ParseBlockID decodes the id of a block: base64 of 1 to 64 bytes.
func ParseBlockID(text string) (string, error) {
	id, err := base64.StdEncoding.DecodeString(text)
	if err != nil || len(id) == 0 || len(id) > MaxBlockID {
		return "", fault.Newf("azureblob.ParseBlockID", fault.Invalid, "a block's id is base64 of 1 to %d bytes", MaxBlockID)
	}
	return string(id), nil
}

// ParseBlockList reads the body of Put Block List. Faults: Invalid, TooLarge.
func ParseBlockList(r io.Reader) ([]Block, error) {
	op := "azureblob.ParseBlockList"
	bounded := &io.LimitedReader{R: r, N: MaxBlockList}
	d := xml.NewDecoder(bounded)
	var out []Block
	var path []string
	var text strings.Builder
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && len(path) == 0 && out != nil {
			return out, nil
		}
		if err != nil {
			if bounded.N == 0 {
				return nil, fault.Newf(op, fault.TooLarge, "the list of blocks is larger than %d bytes", MaxBlockList)
			}
			return nil, fault.New(op, fault.Invalid, "the body is no list of blocks in XML").Because(err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			name := t.Name.Local
			switch {
			case len(path) == 0 && name == "BlockList" && out == nil:
				out = []Block{}
			case len(path) == 1 && (name == Latest || name == Uncommitted || name == Committed):
				text.Reset()
			default:
				return nil, fault.Newf(op, fault.Invalid, "%.40q does not belong at this place of a list of blocks", name)
			}
			path = append(path, name)
		case xml.CharData:
			switch {
			case len(path) == 2 && text.Len()+len(t) > 4*MaxBlockID: // base64 and any line breaks in it
				return nil, fault.New(op, fault.Invalid, "a block's id is too long")
			case len(path) == 2:
				text.Write(t)
			case strings.TrimSpace(string(t)) != "":
				return nil, fault.New(op, fault.Invalid, "there is text between the blocks of the list")
			}
		case xml.EndElement:
			if len(path) == 2 {
				id, err := ParseBlockID(strings.TrimSpace(text.String()))
				if err != nil {
					return nil, err
				}
				if len(out) == MaxBlocks {
					return nil, fault.Newf(op, fault.TooLarge, "the list has more than %d blocks", MaxBlocks)
				}
				out = append(out, Block{path[1], id})
			}
			path = path[:len(path)-1]
		}
	}
}

// Listed is a block in the answer of Get Block List.
type Listed struct {
	ID   string // decoded
	Size int64
}

// RenderBlockList writes the answer of Get Block List.
func RenderBlockList(committed, uncommitted []Listed) []byte {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0" encoding="utf-8"?><BlockList>`)
	part := func(name string, list []Listed) {
		b.WriteString("<" + name + ">")
		for _, l := range list {
			b.WriteString("<Block><Name>" + base64.StdEncoding.EncodeToString([]byte(l.ID)) + "</Name><Size>" + strconv.FormatInt(l.Size, 10) + "</Size></Block>")
		}
		b.WriteString("</" + name + ">")
	}
	part("CommittedBlocks", committed)
	part("UncommittedBlocks", uncommitted)
	b.WriteString("</BlockList>")
	return []byte(b.String())
}
