package amqp

// Descriptor is 0x40.
func (*SASLMechanisms) Descriptor() uint64 { return codeSASLMechanisms }

// Append writes the performative.
func (s *SASLMechanisms) Append(dst []byte) []byte {
	c := compose(dst, codeSASLMechanisms)
	c.add(true)
	c.value(s.Mechanisms)
	return c.close()
}

func (s *SASLMechanisms) decode(f *fields) { s.Mechanisms = f.symbols() }

// Descriptor is 0x41.
func (*SASLInit) Descriptor() uint64 { return codeSASLInit }

// Append writes the performative.
func (s *SASLInit) Append(dst []byte) []byte {
	c := compose(dst, codeSASLInit)
	c.symbol(s.Mechanism)
	c.binary(s.InitialResponse, s.InitialResponse != nil)
	c.maybeString(s.Hostname)
	return c.close()
}

func (s *SASLInit) decode(f *fields) {
	mechanism := f.symbol()
	f.require(mechanism.Set)
	s.Mechanism = mechanism.Value
	s.InitialResponse = f.bytes()
	s.Hostname = f.text()
}

// Descriptor is 0x42.
func (*SASLChallenge) Descriptor() uint64 { return codeSASLChallenge }

// Append writes the performative.
func (s *SASLChallenge) Append(dst []byte) []byte {
	c := compose(dst, codeSASLChallenge)
	c.binary(s.Challenge, true)
	return c.close()
}

func (s *SASLChallenge) decode(f *fields) {
	s.Challenge = f.bytes()
	f.require(s.Challenge != nil)
}

// Descriptor is 0x43.
func (*SASLResponse) Descriptor() uint64 { return codeSASLResponse }

// Append writes the performative.
func (s *SASLResponse) Append(dst []byte) []byte {
	c := compose(dst, codeSASLResponse)
	c.binary(s.Response, true)
	return c.close()
}

func (s *SASLResponse) decode(f *fields) {
	s.Response = f.bytes()
	f.require(s.Response != nil)
}

// Descriptor is 0x44.
func (*SASLOutcome) Descriptor() uint64 { return codeSASLOutcome }

// Append writes the performative.
func (s *SASLOutcome) Append(dst []byte) []byte {
	c := compose(dst, codeSASLOutcome)
	c.maybeUbyte(Some(uint8(s.Code)))
	c.binary(s.AdditionalData, s.AdditionalData != nil)
	return c.close()
}

func (s *SASLOutcome) decode(f *fields) {
	code := f.ubyte()
	f.require(code.Set)
	s.Code = SASLCode(code.Value)
	s.AdditionalData = f.bytes()
}
