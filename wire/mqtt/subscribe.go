package mqtt

// Subscription is one topic filter with the largest QoS the client wants.
type Subscription struct {
	Filter string
	QoS    byte
}

// Subscribe asks for messages (MQTT 3.8).
type Subscribe struct {
	ID     uint16
	Topics []Subscription // at least one
}

// Type returns SUBSCRIBE.
func (*Subscribe) Type() Type { return SUBSCRIBE }

func decodeSubscribe(body []byte) (*Subscribe, error) {
	f := fields{rest: body}
	s := &Subscribe{ID: f.id()}
	for f.err == nil && len(f.rest) > 0 {
		sub := Subscription{Filter: string(f.text("a topic filter")), QoS: f.byte("a requested QoS")}
		switch {
		case f.err != nil:
		case sub.Filter == "":
			f.fail("4.7.3-1", "empty topic filter")
		case sub.QoS > 2:
			f.fail("3.8.3-4", "requested QoS is not 0, 1 or 2")
		}
		s.Topics = append(s.Topics, sub)
	}
	if f.err == nil && len(s.Topics) == 0 {
		f.fail("3.8.3-3", "SUBSCRIBE without a topic filter")
	}
	if f.err != nil {
		return nil, f.err
	}
	return s, nil
}

// Append implements [Packet].
func (s *Subscribe) Append(dst []byte) ([]byte, error) {
	n := 2
	for _, t := range s.Topics {
		if err := checkLength("topic filter", len(t.Filter)); err != nil {
			return dst, err
		}
		n += 3 + len(t.Filter)
	}
	dst, err := appendHeader(dst, byte(SUBSCRIBE)<<4|2, n)
	if err != nil {
		return dst, err
	}
	dst = append(dst, byte(s.ID>>8), byte(s.ID))
	for _, t := range s.Topics {
		dst = append(appendText(dst, t.Filter), t.QoS)
	}
	return dst, nil
}

// SubscriptionFailed is a SUBACK code that refuses one filter (MQTT 3.9.3).
const SubscriptionFailed = 0x80

// Suback answers a SUBSCRIBE with one code a filter: the QoS granted or [SubscriptionFailed] (MQTT 3.9).
type Suback struct {
	ID    uint16
	Codes []byte
}

// Type returns SUBACK.
func (*Suback) Type() Type { return SUBACK }

func decodeSuback(body []byte) (*Suback, error) {
	f := fields{rest: body}
	s := &Suback{ID: f.id(), Codes: f.rest}
	for _, c := range s.Codes {
		if c > 2 && c != SubscriptionFailed {
			f.fail("3.9.3-2", "reserved SUBACK code")
		}
	}
	if f.err != nil {
		return nil, f.err
	}
	return s, nil
}

// Append implements [Packet].
func (s *Suback) Append(dst []byte) ([]byte, error) {
	dst, err := appendHeader(dst, byte(SUBACK)<<4, 2+len(s.Codes))
	if err != nil {
		return dst, err
	}
	return append(append(dst, byte(s.ID>>8), byte(s.ID)), s.Codes...), nil
}

// Unsubscribe takes filters back (MQTT 3.10).
type Unsubscribe struct {
	ID      uint16
	Filters []string // at least one
}

// Type returns UNSUBSCRIBE.
func (*Unsubscribe) Type() Type { return UNSUBSCRIBE }

func decodeUnsubscribe(body []byte) (*Unsubscribe, error) {
	f := fields{rest: body}
	u := &Unsubscribe{ID: f.id()}
	for f.err == nil && len(f.rest) > 0 {
		filter := string(f.text("a topic filter"))
		if f.err == nil && filter == "" {
			f.fail("4.7.3-1", "empty topic filter")
		}
		u.Filters = append(u.Filters, filter)
	}
	if f.err == nil && len(u.Filters) == 0 {
		f.fail("3.10.3-2", "UNSUBSCRIBE without a topic filter")
	}
	if f.err != nil {
		return nil, f.err
	}
	return u, nil
}

// Append implements [Packet].
func (u *Unsubscribe) Append(dst []byte) ([]byte, error) {
	n := 2
	for _, t := range u.Filters {
		if err := checkLength("topic filter", len(t)); err != nil {
			return dst, err
		}
		n += 2 + len(t)
	}
	dst, err := appendHeader(dst, byte(UNSUBSCRIBE)<<4|2, n)
	if err != nil {
		return dst, err
	}
	dst = append(dst, byte(u.ID>>8), byte(u.ID))
	for _, t := range u.Filters {
		dst = appendText(dst, t)
	}
	return dst, nil
}
