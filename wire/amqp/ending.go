package amqp

// Descriptor is 0x16.
func (*Detach) Descriptor() uint64 { return codeDetach }

// Append writes the performative.
func (d *Detach) Append(dst []byte) []byte {
	c := compose(dst, codeDetach)
	c.uint(d.Handle)
	c.flag(d.Closed)
	c.error(d.Error)
	return c.close()
}

func (d *Detach) decode(f *fields) {
	d.Handle = f.mustUint()
	d.Closed = f.flag()
	d.Error = f.error()
}

// Descriptor is 0x17.
func (*End) Descriptor() uint64 { return codeEnd }

// Append writes the performative.
func (e *End) Append(dst []byte) []byte {
	c := compose(dst, codeEnd)
	c.error(e.Error)
	return c.close()
}

func (e *End) decode(f *fields) { e.Error = f.error() }

// Descriptor is 0x18.
func (*Close) Descriptor() uint64 { return codeClose }

// Append writes the performative.
func (l *Close) Append(dst []byte) []byte {
	c := compose(dst, codeClose)
	c.error(l.Error)
	return c.close()
}

func (l *Close) decode(f *fields) { l.Error = f.error() }

// error writes an error, null when it is nil.
func (c *composite) error(e *Error) {
	if !c.add(e != nil) {
		return
	}
	n := compose(c.dst, codeError)
	n.symbol(e.Condition)
	n.maybeString(e.Description)
	n.mapping(e.Info)
	c.dst = n.close()
}

// error reads an error; null gives nil.
func (f *fields) error() *Error {
	raw := f.raw()
	if raw == nil {
		return nil
	}
	n, err := openNested(raw, codeError)
	if err != nil {
		f.wrap(err)
		return nil
	}
	condition := n.symbol()
	n.require(condition.Set)
	e := &Error{Condition: condition.Value, Description: n.text(), Info: n.mapping()}
	if err := n.done(); err != nil {
		f.wrap(err)
		return nil
	}
	return e
}
