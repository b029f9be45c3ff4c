package amqp

import "encoding/binary"

// Kinds of frames (2.3.1, 5.3.1).
const (
	FrameAMQP = 0
	FrameSASL = 1
)

// Ids of protocol headers (2.2, 5.2.1, 5.3.2).
const (
	ProtocolAMQP = 0
	ProtocolTLS  = 2
	ProtocolSASL = 3
)

const frameHead = 8

// ProtocolHeader is what each side sends first: id 0 for AMQP, 2 for TLS, 3 for SASL; version 1.0.0.
func ProtocolHeader(id byte) [8]byte { return [8]byte{'A', 'M', 'Q', 'P', id, 1, 0, 0} }

// AppendFrame writes a whole frame with its size. p nil writes an empty frame, which keeps a connection alive (2.4.5). payload follows
// the performative and belongs to a Transfer only.
func AppendFrame(dst []byte, kind byte, channel uint16, p Performative, payload []byte) []byte {
	start := len(dst)
	dst = StartFrame(dst, kind, channel)
	if p != nil {
		dst = append(p.Append(dst), payload...)
	}
	FinishFrame(dst, start)
	return dst
}

// StartFrame begins a frame after dst. The caller appends the body and then calls [FinishFrame] with the length dst had before.
func StartFrame(dst []byte, kind byte, channel uint16) []byte {
	return append(dst, 0, 0, 0, 0, 2, kind, byte(channel>>8), byte(channel))
}

// FinishFrame fills in the size of the frame that began at start.
func FinishFrame(dst []byte, start int) {
	binary.BigEndian.PutUint32(dst[start:], uint32(len(dst)-start))
}

// AppendTransfer writes a whole frame with a transfer and the parts of its payload. It allocates for a state's error or annotations only.
func AppendTransfer(dst []byte, channel uint16, t *Transfer, payload ...[]byte) []byte {
	start := len(dst)
	dst = t.Append(StartFrame(dst, FrameAMQP, channel))
	for _, p := range payload {
		dst = append(dst, p...)
	}
	FinishFrame(dst, start)
	return dst
}

// AppendFlow writes a whole frame with a flow. It does not allocate, but for properties.
func AppendFlow(dst []byte, channel uint16, f *Flow) []byte {
	start := len(dst)
	dst = f.Append(StartFrame(dst, FrameAMQP, channel))
	FinishFrame(dst, start)
	return dst
}

// AppendDisposition writes a whole frame with a disposition. It allocates for a state's error or annotations only.
func AppendDisposition(dst []byte, channel uint16, d *Disposition) []byte {
	start := len(dst)
	dst = d.Append(StartFrame(dst, FrameAMQP, channel))
	FinishFrame(dst, start)
	return dst
}

// DescriptorOf tells which performative a frame's body holds, without reading further. ok is false for an empty frame, and for what does
// not begin with a descriptor of the standard.
func DescriptorOf(body []byte) (code uint64, ok bool) {
	code, _, err := descriptor(body)
	return code, err == nil && code != 0
}

// Decode reads a frame's body. The payload is what follows the performative of a Transfer, and points into body as the Transfer's
// DeliveryTag does. An empty body, which keeps a connection alive, gives a nil performative.
func Decode(kind byte, body []byte) (p Performative, payload []byte, err error) {
	if len(body) == 0 && kind == FrameAMQP {
		return nil, nil, nil
	}
	code, rest, err := descriptor(body)
	if err != nil {
		return nil, nil, err
	}
	if p = performative(kind, code); p == nil {
		return nil, nil, malformed("2.7", "type %#02x does not belong into a frame of kind %d", code, kind)
	}
	f, payload, err := openList(rest, code)
	if err != nil {
		return nil, nil, err
	}
	p.decode(&f)
	if err := f.done(); err != nil {
		return nil, nil, err
	}
	if len(payload) > 0 && code != codeTransfer {
		return nil, nil, malformed("2.7", "bytes after the performative of type %#02x", code)
	}
	return p, payload, nil
}

func performative(kind byte, code uint64) Performative {
	switch kind {
	case FrameAMQP:
		switch code {
		case codeOpen:
			return new(Open)
		case codeBegin:
			return new(Begin)
		case codeAttach:
			return new(Attach)
		case codeFlow:
			return new(Flow)
		case codeTransfer:
			return new(Transfer)
		case codeDisposition:
			return new(Disposition)
		case codeDetach:
			return new(Detach)
		case codeEnd:
			return new(End)
		case codeClose:
			return new(Close)
		}
	case FrameSASL:
		switch code {
		case codeSASLMechanisms:
			return new(SASLMechanisms)
		case codeSASLInit:
			return new(SASLInit)
		case codeSASLChallenge:
			return new(SASLChallenge)
		case codeSASLResponse:
			return new(SASLResponse)
		case codeSASLOutcome:
			return new(SASLOutcome)
		}
	}
	return nil
}
