package amqp

import "io"

const (
	FrameAMQP = 0
	FrameSASL = 1
)

type fields struct{}

func ProtocolHeader(id byte) [8]byte { return [8]byte{'A', 'M', 'Q', 'P', id, 1, 0, 0} }

// AppendFrame writes a whole frame; p nil: an empty frame.
func AppendFrame(dst []byte, kind byte, channel uint16, p Performative, payload []byte) []byte {
	panic("todo")
}

// StartFrame writes the header of a frame whose body the caller appends; FinishFrame(dst, len(dst before StartFrame)) sets its size.
func StartFrame(dst []byte, kind byte, channel uint16) []byte { panic("todo") }
func FinishFrame(dst []byte, start int)                       { panic("todo") }

// these write whole frames of kind FrameAMQP
func AppendTransfer(dst []byte, channel uint16, t *Transfer, payload ...[]byte) []byte { panic("todo") }
func AppendFlow(dst []byte, channel uint16, f *Flow) []byte                            { panic("todo") }
func AppendDisposition(dst []byte, channel uint16, d *Disposition) []byte              { panic("todo") }

func Decode(kind byte, body []byte) (p Performative, payload []byte, err error) { panic("todo") }
func (t *Transfer) Decode(body []byte) (payload []byte, err error)              { panic("todo") }
func (t *Flow) Decode(body []byte) error                                        { panic("todo") }
func (t *Disposition) Decode(body []byte) error                                 { panic("todo") }
func DescriptorOf(body []byte) (code uint64, ok bool)                           { panic("todo") }

type Buffers struct{}

type Reader struct {
	Waiting func()   // called each time the reader is about to wait for bytes
	Buffers *Buffers // where buffers come from; may be nil
}

func NewReader(src io.Reader) *Reader                                       { panic("todo") }
func (r *Reader) Limit(maxFrame uint32)                                     { panic("todo") }
func (r *Reader) Next() (kind byte, channel uint16, body []byte, err error) { panic("todo") }
func (r *Reader) Rest()                                                     { panic("todo") }
func (r *Reader) Buffered() int                                             { panic("todo") }
func (r *Reader) ProtocolHeader() (header [8]byte, err error)               { panic("todo") }
func AppendValue(dst []byte, v any) ([]byte, error)                         { panic("todo") }
func ParseValue(b []byte, lim Limits) (v any, rest []byte, err error)       { panic("todo") }
func Scan(message []byte) (Sections, error)                                 { panic("todo") }
func EachData(body []byte, f func(data []byte) error) error                 { panic("todo") }
func EachPair(section []byte, f func(key []byte, value []byte) bool) error  { panic("todo") }
func TextOf(value []byte) ([]byte, bool)                                    { panic("todo") }
func IntegerOf(value []byte) (int64, bool)                                  { panic("todo") }
func Unmarshal(b []byte) (*Message, error)                                  { panic("todo") }
func (m *Message) Append(dst []byte) ([]byte, error)                        { panic("todo") }
func (p *Properties) Append(dst []byte) []byte                              { panic("todo") }
func (p *Properties) Decode(section []byte) error                           { panic("todo") }
func (h *Header) Append(dst []byte) []byte                                  { panic("todo") }
func (h *Header) Decode(section []byte) error                               { panic("todo") }

// builders
func AppendDescriptor(dst []byte, code uint64) []byte { panic("todo") }
func AppendString(dst []byte, s string) []byte        { panic("todo") }
func AppendSymbol(dst []byte, s Symbol) []byte        { panic("todo") }
func AppendBinary(dst, b []byte) []byte               { panic("todo") }
func AppendLong(dst []byte, v int64) []byte           { panic("todo") }
func AppendUlong(dst []byte, v uint64) []byte         { panic("todo") }
func AppendInt(dst []byte, v int32) []byte            { panic("todo") }
func AppendUint(dst []byte, v uint32) []byte          { panic("todo") }
func AppendBool(dst []byte, v bool) []byte            { panic("todo") }
func AppendTimestamp(dst []byte, v Timestamp) []byte  { panic("todo") }
func AppendBinaryHead(dst []byte, n int) []byte       { panic("todo") }
func StartMap(dst []byte) []byte                      { panic("todo") }
func FinishMap(dst []byte, start, pairs int)          { panic("todo") }
func StartList(dst []byte) []byte                     { panic("todo") }
func FinishList(dst []byte, start, items int)         { panic("todo") }

func (*Open) Descriptor() uint64                       { return codeOpen }
func (*Open) Append(dst []byte) []byte           { panic("todo") }
func (*Open) decode(f *fields) error             { panic("todo") }
func (*Begin) Descriptor() uint64                      { return codeBegin }
func (*Begin) Append(dst []byte) []byte          { panic("todo") }
func (*Begin) decode(f *fields) error            { panic("todo") }
func (*Attach) Descriptor() uint64                     { return codeAttach }
func (*Attach) Append(dst []byte) []byte         { panic("todo") }
func (*Attach) decode(f *fields) error           { panic("todo") }
func (*Flow) Descriptor() uint64                       { return codeFlow }
func (*Flow) Append(dst []byte) []byte           { panic("todo") }
func (*Flow) decode(f *fields) error             { panic("todo") }
func (*Transfer) Descriptor() uint64                   { return codeTransfer }
func (*Transfer) Append(dst []byte) []byte       { panic("todo") }
func (*Transfer) decode(f *fields) error         { panic("todo") }
func (*Disposition) Descriptor() uint64                { return codeDisposition }
func (*Disposition) Append(dst []byte) []byte    { panic("todo") }
func (*Disposition) decode(f *fields) error      { panic("todo") }
func (*Detach) Descriptor() uint64                     { return codeDetach }
func (*Detach) Append(dst []byte) []byte         { panic("todo") }
func (*Detach) decode(f *fields) error           { panic("todo") }
func (*End) Descriptor() uint64                        { return codeEnd }
func (*End) Append(dst []byte) []byte            { panic("todo") }
func (*End) decode(f *fields) error              { panic("todo") }
func (*Close) Descriptor() uint64                      { return codeClose }
func (*Close) Append(dst []byte) []byte          { panic("todo") }
func (*Close) decode(f *fields) error            { panic("todo") }
func (*SASLMechanisms) Descriptor() uint64             { return codeSASLMechanisms }
func (*SASLMechanisms) Append(dst []byte) []byte { panic("todo") }
func (*SASLMechanisms) decode(f *fields) error   { panic("todo") }
func (*SASLInit) Descriptor() uint64                   { return codeSASLInit }
func (*SASLInit) Append(dst []byte) []byte       { panic("todo") }
func (*SASLInit) decode(f *fields) error         { panic("todo") }
func (*SASLChallenge) Descriptor() uint64              { return codeSASLChallenge }
func (*SASLChallenge) Append(dst []byte) []byte  { panic("todo") }
func (*SASLChallenge) decode(f *fields) error    { panic("todo") }
func (*SASLResponse) Descriptor() uint64               { return codeSASLResponse }
func (*SASLResponse) Append(dst []byte) []byte   { panic("todo") }
func (*SASLResponse) decode(f *fields) error     { panic("todo") }
func (*SASLOutcome) Descriptor() uint64                { return codeSASLOutcome }
func (*SASLOutcome) Append(dst []byte) []byte    { panic("todo") }
func (*SASLOutcome) decode(f *fields) error      { panic("todo") }
