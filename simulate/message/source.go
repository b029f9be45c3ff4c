package message

import (
	"time"

	"github.com/isthmus-io/isthmus/simulate/template"
)

// Random is where shares and values are drawn from.
type Random = template.Random

// MaxSize is the largest message a hub takes, in bytes: body and properties.
const MaxSize = 256 << 10

// Source makes the messages of one device.
type Source struct {
	recipe   *Recipe
	payloads []Payload // the largest share first
	state    *template.State
	scratch  []byte
	now      time.Time
}

// Next writes the next message: its properties after bag, its body after body. Variables move on only with a body that is of a
// template. An error, about a header that became no JSON, is Invalid and spoils this message only.
func (s *Source) Next(now time.Time, random Random, bag, body []byte) (newBag, newBody []byte, err error) {
	s.now = now
	return s.write(s.choose(random), bag, body, random)
}

func (s *Source) choose(random Random) Payload {
	if len(s.payloads) == 1 {
		return s.payloads[0]
	}
	drawn, sum := int(random.Int64N(100)), 0
	for _, p := range s.payloads {
		if sum += p.Share; drawn < sum {
			return p
		}
	}
	return s.payloads[0]
}

func (s *Source) write(p Payload, bag, body []byte, random Random) (newBag, newBody []byte, err error) {
	if p.Template != nil {
		s.state.Next(s.now, random)
		body = p.Template.Append(body, s.state)
	} else {
		body = append(body, p.Fixed...)
	}
	// The names are those of content type, content encoding and correlation id in a bag.
	bag = append(bag, "%24.ct=application%2Fjson&%24.ce=utf-8&%24.cid="...)
	var id [16]byte
	a, b := random.Uint64(), random.Uint64()
	for i := range 8 {
		id[i], id[8+i] = byte(a>>(8*i)), byte(b>>(8*i))
	}
	id[6], id[8] = id[6]&0x0f|0x40, id[8]&0x3f|0x80 // RFC 9562, 5.4: version 4
	bag = template.AppendGUID(bag, id)
	if h := s.recipe.Header; h != nil {
		s.scratch = h.Append(s.scratch[:0], s.state)
		bag, err = header(bag, s.scratch)
	}
	return bag, body, err
}
