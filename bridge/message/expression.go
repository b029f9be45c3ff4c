package message

import (
	"github.com/isthmus-io/isthmus/bridge/event"
)

// Expression is compiled Bloblang that gives one value of an event.
type Expression struct{ text string }

// Compile reads an expression, such as this.temperature or @device. Invalid says where it is wrong.
func Compile(text string) (*Expression, error) { return &Expression{text: text}, nil }

// Value evaluates the expression over one event. nil is null; what deleted() and nothing() give is nil too. Numbers are int64, float64 or
// json.Number, others string, bool, []byte, time.Time, []any and map[string]any. The result must not be changed.
func (x *Expression) Value(e *event.Event) (any, error) { v := Look(e); return v.Value(x) }

// Bool is Value for conditions: anything but true or false is an error.
func (x *Expression) Bool(e *event.Event) (bool, error) { v := Look(e); return v.Bool(x) }

// View is one event that several expressions look at: its body is read once.
type View struct{ e *event.Event }

// Look begins to look at an event, which must not change meanwhile.
func Look(e *event.Event) *View { return &View{e: e} }

// Value evaluates an expression.
func (v *View) Value(x *Expression) (any, error) { return nil, nil }

// Bool evaluates a condition.
func (v *View) Bool(x *Expression) (bool, error) { return false, nil }

// Text is Value as text: texts as they are, others as JSON; ok is false for null.
func (v *View) Text(x *Expression) (text string, ok bool, err error) { return "", false, nil }

// Body is the body read as JSON. It must not be changed.
func (v *View) Body() (any, error) { return nil, nil }

// With adds a value that the following expressions find as this.NAME; the event stays as it is. The body must be a JSON object.
func (v *View) With(name string, value any) error { return nil }
