package mqtt

// Publish carries an application message (MQTT 3.3).
type Publish struct {
	Topic   []byte
	Payload []byte
	ID      uint16 // only with QoS 1 or 2, else 0
	QoS     byte
	Dup     bool
	Retain  bool
}

// Type returns PUBLISH.
func (*Publish) Type() Type { return PUBLISH }

// DecodePublish reads a PUBLISH into p, whose slices then point into body. It does not allocate unless it fails.
func DecodePublish(first byte, body []byte, p *Publish) error {
	p.Dup, p.QoS, p.Retain, p.ID = first&8 != 0, first>>1&3, first&1 != 0, 0
	switch {
	case p.QoS == 3:
		return malformed("3.3.1-4", "PUBLISH with QoS 3")
	case p.QoS == 0 && p.Dup:
		return malformed("3.3.1-2", "DUP with QoS 0")
	}
	f := fields{rest: body}
	p.Topic = f.text("the topic name")
	if p.QoS > 0 {
		p.ID = f.id()
	}
	if f.err == nil && len(p.Topic) == 0 {
		f.fail("4.7.3-1", "empty topic name")
	}
	p.Payload = f.rest
	return f.err
}

// Append implements [Packet].
func (p *Publish) Append(dst []byte) ([]byte, error) {
	if err := checkLength("topic name", len(p.Topic)); err != nil {
		return dst, err
	}
	first := byte(PUBLISH)<<4 | p.QoS<<1
	if p.Dup {
		first |= 8
	}
	if p.Retain {
		first |= 1
	}
	n := 2 + len(p.Topic) + len(p.Payload)
	if p.QoS > 0 {
		n += 2
	}
	dst, err := appendHeader(dst, first, n)
	if err != nil {
		return dst, err
	}
	dst = appendText(dst, p.Topic)
	if p.QoS > 0 {
		dst = append(dst, byte(p.ID>>8), byte(p.ID))
	}
	return append(dst, p.Payload...), nil
}
