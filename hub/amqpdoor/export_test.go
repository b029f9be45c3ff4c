package amqpdoor

import "github.com/isthmus-io/isthmus/hub"

// Place tells what a link's path is for.
func Place(path string) (n hub.Name, kind int, ok bool) {
	p, ok := parsePlace(path)
	return p.name, int(p.kind), ok
}

// Read reads messages of one link, one after the other, and returns the last.
func Read(s *hub.Session, messages ...[]byte) (body []byte, size int, err error) {
	r := letters{session: s}
	for _, m := range messages {
		var l letter
		if l, size, err = r.read(m); err == nil && l.labels == nil {
			panic("a message without labels")
		}
		body = l.body
	}
	return body, size, err
}
