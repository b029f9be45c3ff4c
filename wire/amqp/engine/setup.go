package engine

import (
	"errors"
	"io"
	"math"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/wire/amqp"
)

const (
	maxSASLFrame = 8 << 10 // the standard says 512 bytes (5.3.2); tokens in PLAIN are longer
	maxOpenFrame = 8 << 10 // the standard says 512 bytes until both have said open (2.4.1); some tell more of themselves
	maxRounds    = 16      // of challenges
	leastSilence = 200 * time.Millisecond
	mostSilence  = 24 * time.Hour
	mostFrame    = 64 << 10 // bytes of a frame to the peer, however large it takes them: so that links have their turns
)

// setup speaks SASL and open (2.4.1, 5.3).
func (c *Conn) setup(a Acceptor) error {
	if err := c.headers(a); err != nil {
		return err
	}
	o, err := c.readOpen()
	if err != nil {
		return err
	}
	c.reader.Limit(c.engine.cfg.MaxFrame)
	c.peerOpen = &amqp.Open{ContainerID: o.ContainerID, Hostname: o.Hostname, MaxFrameSize: o.MaxFrameSize, ChannelMax: o.ChannelMax, IdleTimeout: o.IdleTimeout}
	handler, err := a.Open(c.ctx, c)
	refusal := c.adopt(o)
	if err != nil {
		refusal = conditionOf(err)
	} else {
		c.handler = handler
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.broken {
		return unread(io.ErrClosedPipe)
	}
	c.quiet = c.engine.clock.Now()
	c.put(0, c.open())
	c.become(opened)
	if c.beat > 0 {
		c.engine.watch.hurry(c, c.quiet.Add(c.beat))
	}
	c.engine.watch.hurry(c, c.quiet.Add(c.engine.cfg.IdleTimeout))
	switch {
	case refusal != nil && err != nil:
		c.shut(refusal, err)
	case refusal != nil:
		c.fail(refusal)
	case c.wanted != nil:
		c.shut(c.wanted.Error, errorOf(c.wanted.Error))
	}
	return nil // the peer has its while to answer
}

// headers reads what the peer begins with and answers it, through SASL up to the header of AMQP.
func (c *Conn) headers(a Acceptor) error {
	h, err := c.reader.ProtocolHeader()
	if err != nil {
		return unread(err)
	}
	mechanisms := a.Mechanisms()
	if h == amqp.ProtocolHeader(amqp.ProtocolSASL) && len(mechanisms) > 0 {
		c.say(h[:])
		if err := c.authenticate(a, mechanisms); err != nil {
			return c.bye(err)
		}
		if h, err = c.reader.ProtocolHeader(); err != nil {
			return unread(err)
		}
		mechanisms = nil
	}
	want := amqp.ProtocolHeader(amqp.ProtocolAMQP)
	if h == want {
		c.reader.Limit(min(c.engine.cfg.MaxFrame, maxOpenFrame))
		c.say(want[:])
		return nil
	}
	if len(mechanisms) > 0 { // TLS is somebody else's, below us
		want = amqp.ProtocolHeader(amqp.ProtocolSASL)
	}
	c.say(want[:])
	return c.bye(fault.Newf("engine.Serve", fault.Invalid, "the connection begins with the bytes %q, which are no AMQP 1.0", h[:]).
		Advise("speak AMQP 1.0, with SASL or without"))
}

// say writes bytes that are no frame.
func (c *Conn) say(b []byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.buffer()
	*out = append(*out, b...)
	c.framesOut--
	c.kick()
}

// bye lets a peer read our last word: closing with its unread bytes in our buffer would destroy it on its way. It returns err.
func (c *Conn) bye(err error) error {
	c.mu.Lock()
	c.because(err)
	c.setupEnd = c.engine.clock.Now().Add(time.Second)
	c.engine.watch.hurry(c, c.setupEnd)
	for c.writing {
		c.room.Wait()
	}
	c.mu.Unlock()
	if half, ok := c.net.(interface{ CloseWrite() error }); ok {
		_ = half.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, c.net)
	return err
}

// authenticate runs SASL (5.3.2).
func (c *Conn) authenticate(a Acceptor, mechanisms []amqp.Symbol) error {
	c.reader.Limit(maxSASLFrame)
	c.saySASL(&amqp.SASLMechanisms{Mechanisms: mechanisms})
	p, err := c.readSASL()
	if err != nil {
		return err
	}
	init, ok := p.(*amqp.SASLInit)
	if !ok {
		return fault.New("engine.Serve", fault.Invalid, "SASL begins with sasl-init")
	}
	who, err := a.Authenticate(c.ctx, &SASL{Mechanism: init.Mechanism, Hostname: init.Hostname, Initial: init.InitialResponse, conn: c})
	if err != nil {
		code := amqp.SASLAuth
		switch fault.KindOf(err) {
		case fault.Internal, fault.Unavailable, fault.Timeout:
			code = amqp.SASLSys
		}
		c.saySASL(&amqp.SASLOutcome{Code: code})
		return err
	}
	c.who = who
	c.saySASL(&amqp.SASLOutcome{Code: amqp.SASLOK})
	return nil
}

func (c *Conn) saySASL(p amqp.Performative) {
	c.mu.Lock()
	defer c.mu.Unlock()
	out := c.buffer()
	*out = amqp.AppendFrame(*out, amqp.FrameSASL, 0, p, nil)
	c.kick()
}

func (c *Conn) readSASL() (amqp.Performative, error) {
	kind, _, body, err := c.reader.Next()
	if err == nil && kind != amqp.FrameSASL {
		err = amqp.ErrFraming
	}
	var p amqp.Performative
	if err == nil {
		p, _, err = amqp.Decode(kind, body)
	}
	switch {
	case errors.Is(err, amqp.ErrFraming) || errors.Is(err, amqp.ErrMalformed):
		return nil, fault.Newf("engine.Serve", fault.Invalid, "what the peer says is no SASL: %v", err).Because(err)
	case err != nil:
		return nil, unread(err)
	}
	return p, nil
}

// readOpen reads the first frame that is not empty.
func (c *Conn) readOpen() (*amqp.Open, error) {
	for {
		kind, _, body, err := c.reader.Next()
		if err == nil && kind != amqp.FrameAMQP {
			err = amqp.ErrFraming
		}
		var p amqp.Performative
		if err == nil {
			p, _, err = amqp.Decode(kind, body)
		}
		o, ok := p.(*amqp.Open)
		switch {
		case errors.Is(err, amqp.ErrFraming) || errors.Is(err, amqp.ErrMalformed) || err == nil && p != nil && !ok:
			return nil, c.refuseOpen(err)
		case err != nil:
			return nil, unread(err)
		case ok:
			return o, nil
		}
	}
}

// refuseOpen says open and close to a peer who said no open that could be read.
func (c *Conn) refuseOpen(err error) error {
	e := &amqp.Error{Condition: amqp.ConditionIllegalState, Description: "A connection begins with open."}
	if err != nil {
		e = &amqp.Error{Condition: amqp.ConditionOf(err), Description: err.Error()}
	}
	c.mu.Lock()
	c.put(0, c.open())
	c.put(0, &amqp.Close{Error: c.fit(e)})
	c.engine.metrics.told(e)
	c.kick()
	c.mu.Unlock()
	return c.bye(e)
}

// open is what we say of ourselves.
func (c *Conn) open() *amqp.Open {
	cfg := &c.engine.cfg
	return &amqp.Open{
		ContainerID:  cfg.ContainerID,
		MaxFrameSize: amqp.Some(cfg.MaxFrame),
		ChannelMax:   amqp.Some(cfg.ChannelMax),
		IdleTimeout:  amqp.Some(uint32(min(cfg.IdleTimeout.Milliseconds(), math.MaxUint32))),
	}
}

// adopt takes over what the peer's open says of itself.
func (c *Conn) adopt(o *amqp.Open) *amqp.Error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.channelMax = o.ChannelMax.Or(math.MaxUint16)
	frame := o.MaxFrameSize.Or(math.MaxUint32)
	c.frameMax = int(min(max(frame, amqp.MinMaxFrame), mostFrame, max(c.engine.cfg.MaxFrame, amqp.MinMaxFrame)))
	silence := min(time.Duration(o.IdleTimeout.Value)*time.Millisecond, mostSilence)
	switch {
	case frame < amqp.MinMaxFrame:
		return amqp.Errorf(amqp.ConditionInvalidField, "A max-frame-size of %d is below the %d that everybody takes.", frame, amqp.MinMaxFrame)
	case silence == 0:
	case silence < leastSilence:
		return amqp.Errorf(amqp.ConditionNotAllowed, "An idle-time-out of %s is too short; %s is the least.", silence, leastSilence)
	default:
		c.beat = silence / 2
	}
	return nil
}
