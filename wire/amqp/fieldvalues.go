package amqp

// symbols reads a field that may have several values: null, one symbol, or an array of them (1.4).
func (f *fields) symbols() []Symbol {
	raw := f.raw()
	if raw == nil {
		return nil
	}
	tag, body, _, err := take(raw)
	if err != nil {
		f.wrap(err)
		return nil
	}
	switch tag {
	case tagSymbol1, tagSymbol4:
		return f.appendSymbol(nil, body)
	case tagArray1, tagArray4:
	default:
		f.mismatch("a symbol or an array of symbols", tag)
		return nil
	}
	count, b, err := counted(tag, body)
	if err != nil {
		f.wrap(err)
		return nil
	}
	if count == 0 {
		return []Symbol{}
	}
	if len(b) == 0 || b[0] != tagSymbol1 && b[0] != tagSymbol4 || count > len(b) {
		f.fail("an array of symbols is wanted")
		return nil
	}
	tag, b = b[0], b[1:]
	symbols := make([]Symbol, 0, count)
	for range count {
		head, size, err := extent(tag, b)
		if err != nil {
			f.wrap(err)
			return nil
		}
		symbols = f.appendSymbol(symbols, b[head:head+size])
		b = b[head+size:]
	}
	if len(b) > 0 {
		f.wrap(errTail)
	}
	return symbols
}

func (f *fields) appendSymbol(to []Symbol, s []byte) []Symbol {
	if !ascii(s) {
		f.wrap(errASCII)
		return nil
	}
	return append(to, Symbol(s))
}

// parse reads a value that has been cut out.
func (f *fields) parse(raw []byte) any {
	p := proportionate(256)
	v, _, err := p.value(raw, deep)
	if err != nil {
		f.wrap(err)
		return nil
	}
	return v
}

// any reads a field of any type.
func (f *fields) any() any {
	raw := f.raw()
	if raw == nil {
		return nil
	}
	return f.parse(raw)
}

func (f *fields) mapping() Map {
	raw := f.raw()
	if raw == nil {
		return nil
	}
	if !isMap(raw[0]) {
		f.mismatch("a map", raw[0])
		return nil
	}
	m, _ := f.parse(raw).(Map)
	return m
}
