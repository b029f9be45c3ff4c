package amqp

// Descriptor is 0x10.
func (*Open) Descriptor() uint64 { return codeOpen }

// Append writes the performative.
func (o *Open) Append(dst []byte) []byte {
	c := compose(dst, codeOpen)
	c.string(o.ContainerID)
	c.maybeString(o.Hostname)
	c.maybeUint(o.MaxFrameSize)
	c.maybeUshort(o.ChannelMax)
	c.maybeUint(o.IdleTimeout)
	c.symbols(o.OutgoingLocales)
	c.symbols(o.IncomingLocales)
	c.symbols(o.OfferedCapabilities)
	c.symbols(o.DesiredCapabilities)
	c.mapping(o.Properties)
	return c.close()
}

func (o *Open) decode(f *fields) {
	id := f.string()
	f.require(id.Set)
	o.ContainerID = id.Value
	o.Hostname = f.text()
	o.MaxFrameSize = f.uint()
	o.ChannelMax = f.ushort()
	o.IdleTimeout = f.uint()
	o.OutgoingLocales = f.symbols()
	o.IncomingLocales = f.symbols()
	o.OfferedCapabilities = f.symbols()
	o.DesiredCapabilities = f.symbols()
	o.Properties = f.mapping()
}

// Descriptor is 0x11.
func (*Begin) Descriptor() uint64 { return codeBegin }

// Append writes the performative.
func (b *Begin) Append(dst []byte) []byte {
	c := compose(dst, codeBegin)
	c.maybeUshort(b.RemoteChannel)
	c.uint(b.NextOutgoingID)
	c.uint(b.IncomingWindow)
	c.uint(b.OutgoingWindow)
	c.maybeUint(b.HandleMax)
	c.symbols(b.OfferedCapabilities)
	c.symbols(b.DesiredCapabilities)
	c.mapping(b.Properties)
	return c.close()
}

func (b *Begin) decode(f *fields) {
	b.RemoteChannel = f.ushort()
	b.NextOutgoingID = f.mustUint()
	b.IncomingWindow = f.mustUint()
	b.OutgoingWindow = f.mustUint()
	b.HandleMax = f.uint()
	b.OfferedCapabilities = f.symbols()
	b.DesiredCapabilities = f.symbols()
	b.Properties = f.mapping()
}

// Descriptor is 0x13.
func (*Flow) Descriptor() uint64 { return codeFlow }

// Append writes the performative. It does not allocate, but for properties.
func (l *Flow) Append(dst []byte) []byte {
	c := compose(dst, codeFlow)
	c.maybeUint(l.NextIncomingID)
	c.uint(l.IncomingWindow)
	c.uint(l.NextOutgoingID)
	c.uint(l.OutgoingWindow)
	c.maybeUint(l.Handle)
	c.maybeUint(l.DeliveryCount)
	c.maybeUint(l.LinkCredit)
	c.maybeUint(l.Available)
	c.flag(l.Drain)
	c.flag(l.Echo)
	c.mapping(l.Properties)
	return c.close()
}

func (l *Flow) decode(f *fields) {
	l.NextIncomingID = f.uint()
	l.IncomingWindow = f.mustUint()
	l.NextOutgoingID = f.mustUint()
	l.OutgoingWindow = f.mustUint()
	l.Handle = f.uint()
	l.DeliveryCount = f.uint()
	l.LinkCredit = f.uint()
	l.Available = f.uint()
	l.Drain = f.flag()
	l.Echo = f.flag()
	l.Properties = f.mapping()
}

// Decode reads the body of a frame that holds a flow. It does not allocate, but for properties.
func (l *Flow) Decode(body []byte) error {
	f, payload, err := openAs(body, codeFlow)
	if err != nil {
		return err
	}
	l.decode(&f)
	if len(payload) > 0 {
		f.fail("bytes after the performative")
	}
	return f.done()
}

// Descriptor is 0x14.
func (*Transfer) Descriptor() uint64 { return codeTransfer }

// Append writes the performative; the payload goes behind it.
func (t *Transfer) Append(dst []byte) []byte {
	c := compose(dst, codeTransfer)
	c.uint(t.Handle)
	c.maybeUint(t.DeliveryID)
	c.binary(t.DeliveryTag, t.DeliveryTag != nil)
	c.maybeUint(t.MessageFormat)
	c.maybeBool(t.Settled)
	c.flag(t.More)
	c.maybeUbyte(t.RcvSettleMode)
	c.state(t.State)
	c.flag(t.Resume)
	c.flag(t.Aborted)
	c.flag(t.Batchable)
	return c.close()
}

func (t *Transfer) decode(f *fields) {
	t.Handle = f.mustUint()
	t.DeliveryID = f.uint()
	t.DeliveryTag = f.binary()
	t.MessageFormat = f.uint()
	t.Settled = f.boolean()
	t.More = f.flag()
	t.RcvSettleMode = f.ubyte()
	t.State = f.state()
	t.Resume = f.flag()
	t.Aborted = f.flag()
	t.Batchable = f.flag()
	if len(t.DeliveryTag) > maxTag {
		f.fail("a delivery-tag of %d bytes, at most %d are allowed", len(t.DeliveryTag), maxTag)
	}
}

const maxTag = 32 // 2.8.7

// Decode reads the body of a frame that holds a transfer, of which DeliveryTag and the payload stay parts. It allocates for a state's
// error or annotations only.
func (t *Transfer) Decode(body []byte) (payload []byte, err error) {
	f, payload, err := openAs(body, codeTransfer)
	if err != nil {
		return nil, err
	}
	t.decode(&f)
	if err := f.done(); err != nil {
		return nil, err
	}
	return payload, nil
}

// Descriptor is 0x15.
func (*Disposition) Descriptor() uint64 { return codeDisposition }

// Append writes the performative. It allocates for a state's error or annotations only.
func (d *Disposition) Append(dst []byte) []byte {
	c := compose(dst, codeDisposition)
	c.bool(bool(d.Role))
	c.uint(d.First)
	c.maybeUint(d.Last)
	c.flag(d.Settled)
	c.state(d.State)
	c.flag(d.Batchable)
	return c.close()
}

func (d *Disposition) decode(f *fields) {
	role := f.boolean()
	f.require(role.Set)
	d.Role = Role(role.Value)
	d.First = f.mustUint()
	d.Last = f.uint()
	d.Settled = f.flag()
	d.State = f.state()
	d.Batchable = f.flag()
}

// Decode reads the body of a frame that holds a disposition. It allocates for a state's error or annotations only.
func (d *Disposition) Decode(body []byte) error {
	f, payload, err := openAs(body, codeDisposition)
	if err != nil {
		return err
	}
	d.decode(&f)
	if len(payload) > 0 {
		f.fail("bytes after the performative")
	}
	return f.done()
}

// openAs opens a body that must hold this performative.
func openAs(body []byte, want uint64) (f fields, payload []byte, err error) {
	code, rest, err := descriptor(body)
	if err != nil {
		return f, nil, err
	}
	if code != want {
		return f, nil, malformed("2.7", "type %#02x is wanted, not %#02x", want, code)
	}
	return openList(rest, code)
}
