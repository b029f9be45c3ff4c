package amqp

// Descriptor is 0x12.
func (*Attach) Descriptor() uint64 { return codeAttach }

// Append writes the performative.
func (a *Attach) Append(dst []byte) []byte {
	c := compose(dst, codeAttach)
	c.string(a.Name)
	c.uint(a.Handle)
	c.bool(bool(a.Role))
	c.maybeUbyte(a.SndSettleMode)
	c.maybeUbyte(a.RcvSettleMode)
	if c.add(a.Source != nil) {
		c.dst = a.Source.Append(c.dst)
	}
	switch {
	case a.Coordinator:
		c.add(true)
		n := compose(c.dst, codeCoordinator)
		if a.Target != nil {
			n.symbols(a.Target.Capabilities)
		}
		c.dst = n.close()
	case c.add(a.Target != nil):
		c.dst = a.Target.Append(c.dst)
	}
	c.mapping(a.Unsettled)
	c.flag(a.IncompleteUnsettled)
	c.maybeUint(a.InitialDeliveryCount)
	c.maybeUlong(a.MaxMessageSize)
	c.symbols(a.OfferedCapabilities)
	c.symbols(a.DesiredCapabilities)
	c.mapping(a.Properties)
	return c.close()
}

func (a *Attach) decode(f *fields) {
	name := f.string()
	f.require(name.Set)
	a.Name = name.Value
	a.Handle = f.mustUint()
	role := f.boolean()
	f.require(role.Set)
	a.Role = Role(role.Value)
	a.SndSettleMode = f.ubyte()
	a.RcvSettleMode = f.ubyte()
	a.Source = f.source()
	a.Target, a.Coordinator = f.target()
	a.Unsettled = f.mapping()
	a.IncompleteUnsettled = f.flag()
	a.InitialDeliveryCount = f.uint()
	a.MaxMessageSize = f.ulong()
	a.OfferedCapabilities = f.symbols()
	a.DesiredCapabilities = f.symbols()
	a.Properties = f.mapping()
}

// Append writes the source with its descriptor.
func (s *Source) Append(dst []byte) []byte {
	c := compose(dst, codeSource)
	c.any(s.Address)
	c.uintUnless(s.Durable, 0)
	c.maybeSymbol(s.ExpiryPolicy)
	c.uintUnless(s.Timeout, 0)
	c.flag(s.Dynamic)
	c.mapping(s.DynamicNodeProperties)
	c.maybeSymbol(s.DistributionMode)
	c.mapping(s.Filter)
	if state, ok := s.DefaultOutcome.(State); ok {
		c.state(state)
	} else {
		c.any(s.DefaultOutcome)
	}
	c.symbols(s.Outcomes)
	c.symbols(s.Capabilities)
	return c.close()
}

func (f *fields) source() *Source {
	raw := f.raw()
	if raw == nil {
		return nil
	}
	n, err := openNested(raw, codeSource)
	if err != nil {
		f.wrap(err)
		return nil
	}
	s := &Source{
		Address:               n.any(),
		Durable:               n.uint().Value,
		ExpiryPolicy:          n.symbol().Value,
		Timeout:               n.uint().Value,
		Dynamic:               n.flag(),
		DynamicNodeProperties: n.mapping(),
		DistributionMode:      n.symbol().Value,
		Filter:                n.mapping(),
		DefaultOutcome:        n.any(),
		Outcomes:              n.symbols(),
		Capabilities:          n.symbols(),
	}
	if err := n.done(); err != nil {
		f.wrap(err)
		return nil
	}
	return s
}

// Append writes the target with its descriptor.
func (t *Target) Append(dst []byte) []byte {
	c := compose(dst, codeTarget)
	c.any(t.Address)
	c.uintUnless(t.Durable, 0)
	c.maybeSymbol(t.ExpiryPolicy)
	c.uintUnless(t.Timeout, 0)
	c.flag(t.Dynamic)
	c.mapping(t.DynamicNodeProperties)
	c.symbols(t.Capabilities)
	return c.close()
}

func (f *fields) target() (t *Target, coordinator bool) {
	raw := f.raw()
	if raw == nil {
		return nil, false
	}
	if code, rest, err := descriptor(raw); err == nil && code == codeCoordinator {
		n, _, err := openList(rest, code)
		if err != nil {
			f.wrap(err)
			return nil, false
		}
		t = &Target{Capabilities: n.symbols()}
		if err := n.done(); err != nil {
			f.wrap(err)
		}
		return t, true
	}
	n, err := openNested(raw, codeTarget)
	if err != nil {
		f.wrap(err)
		return nil, false
	}
	t = &Target{
		Address:               n.any(),
		Durable:               n.uint().Value,
		ExpiryPolicy:          n.symbol().Value,
		Timeout:               n.uint().Value,
		Dynamic:               n.flag(),
		DynamicNodeProperties: n.mapping(),
		Capabilities:          n.symbols(),
	}
	if err := n.done(); err != nil {
		f.wrap(err)
		return nil, false
	}
	return t, false
}
