package amqp

import "errors"

// Unmarshal decodes a whole message. Values may be 16 deep, and as many as there are bytes for
// them. What it returns shares nothing with b.
func Unmarshal(b []byte) (*Message, error) {
	s, err := Scan(b)
	if err != nil {
		return nil, err
	}
	m, p := new(Message), proportionate(4096)
	if s.Header != nil {
		m.Header = new(Header)
		err = m.Header.Decode(s.Header)
	}
	if err == nil && s.Properties != nil {
		m.Properties = new(Properties)
		err = m.Properties.Decode(s.Properties)
	}
	if err != nil {
		return nil, err
	}
	for _, part := range []struct {
		section []byte
		into    *Map
	}{
		{s.DeliveryAnnotations, &m.DeliveryAnnotations},
		{s.MessageAnnotations, &m.MessageAnnotations},
		{s.ApplicationProperties, &m.ApplicationProperties},
		{s.Footer, &m.Footer},
	} {
		if part.section == nil {
			continue
		}
		v, _, err := p.section(part.section)
		if err != nil {
			return nil, err
		}
		*part.into = v.(Map) // as Scan has seen
	}
	if err := m.readBody(s, &p); err != nil {
		return nil, err
	}
	return m, nil
}

func (m *Message) readBody(s Sections, p *parser) error {
	switch s.Kind {
	case Data:
		return EachData(s.Body, func(data []byte) error {
			m.Data = append(m.Data, append([]byte{}, data...))
			return nil
		})
	case Value:
		v, _, err := p.section(s.Body)
		m.Value, m.HasValue = v, true
		return err
	case Sequence:
		for body := s.Body; len(body) > 0; {
			v, rest, err := p.section(body)
			if err != nil {
				return err
			}
			m.Sequence = append(m.Sequence, v.(List))
			body = rest
		}
	}
	return nil
}

func (p *parser) section(b []byte) (v any, rest []byte, err error) {
	_, b, err = descriptor(b)
	if err != nil {
		return nil, nil, err
	}
	return p.value(b, deep)
}

// Append writes the message after dst. It fails for a value that is none of AMQP and for a body of several kinds; dst is then returned
// as it was. A message without any body is written as it is.
func (m *Message) Append(dst []byte) ([]byte, error) {
	kinds := 0
	for _, is := range []bool{m.Data != nil, m.HasValue, m.Sequence != nil} {
		if is {
			kinds++
		}
	}
	if kinds > 1 {
		return dst, errors.New("amqp: cannot write a message whose body is of several kinds")
	}
	w := writer{dst: dst}
	if m.Header != nil {
		w.dst = m.Header.Append(w.dst)
	}
	w.mapSection(codeDeliveryAnnotations, m.DeliveryAnnotations)
	w.mapSection(codeMessageAnnotations, m.MessageAnnotations)
	if m.Properties != nil {
		w.dst = m.Properties.Append(w.dst)
	}
	w.mapSection(codeApplicationProperties, m.ApplicationProperties)
	for _, data := range m.Data {
		w.dst = AppendBinary(AppendDescriptor(w.dst, codeData), data)
	}
	if m.HasValue {
		w.dst = AppendDescriptor(w.dst, codeValue)
		w.value(m.Value, 0)
	}
	for _, l := range m.Sequence {
		w.dst = AppendDescriptor(w.dst, codeSequence)
		w.list(l, 0)
	}
	w.mapSection(codeFooter, m.Footer)
	if w.err != nil {
		return dst, w.err
	}
	return w.dst, nil
}

func (w *writer) mapSection(code uint64, m Map) {
	if m != nil {
		w.dst = AppendDescriptor(w.dst, code)
		w.mapping(m, 0)
	}
}
