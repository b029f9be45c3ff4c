package message

import (
	"encoding/json"
	"fmt"
	"maps"

	"github.com/redpanda-data/benthos/v4/public/bloblang"
	"github.com/redpanda-data/benthos/v4/public/service"

	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
)

// Expression is compiled Bloblang that gives one value of an event.
type Expression struct {
	run      *bloblang.Executor
	boxed    bool // run gives the value as the only element of an array, which keeps its type
	metadata bool // it may look at it
}

// Compile reads an expression, such as this.temperature or @device. Invalid says where it is wrong.
func Compile(text string) (*Expression, error) {
	run, err := compile("message.Compile", text)
	if err != nil {
		return nil, err
	}
	x := &Expression{run: run, metadata: looksAtMetadata(text)}
	if boxed, err := Language().Parse("root = [(" + text + "\n)]"); err == nil { // several statements cannot be boxed
		x.run, x.boxed = boxed, true
	}
	return x, nil
}

// Value evaluates the expression over one event. nil is null, and what deleted() and nothing() give. Numbers are int64, uint64, float64 or
// json.Number, others string, bool, []byte, time.Time, []any and map[string]any. The result must not be changed.
func (x *Expression) Value(e *event.Event) (any, error) { return Look(e).Value(x) }

// Bool is Value for conditions: anything but true or false is an error.
func (x *Expression) Bool(e *event.Event) (bool, error) { return Look(e).Bool(x) }

// View is one event that several expressions look at: its body is read once.
type View struct {
	e        *event.Event
	m        *service.Message
	metadata bool
}

// Look begins to look at an event, which must not change meanwhile.
func Look(e *event.Event) *View { return &View{e: e, m: service.NewMessage(e.Body)} }

// Value evaluates an expression. Its errors are about the event, and may name values of it.
func (v *View) Value(x *Expression) (value any, err error) {
	defer guard(&err)
	if x.metadata && !v.metadata {
		v.metadata = true
		setMetadata(v.m, v.e)
	}
	res, err := v.m.BloblangQuery(x.run)
	switch {
	case err != nil || res == nil:
		return nil, err
	case x.boxed:
		box, err := res.AsStructured()
		if list, ok := box.([]any); ok && len(list) == 1 {
			return list[0], nil
		}
		return nil, err // it was deleted, or nothing
	case !res.HasBytes():
		return res.AsStructured()
	}
	b, err := res.AsBytes()
	if len(b) == len(v.e.Body) && (len(b) == 0 || &b[0] == &v.e.Body[0]) {
		return nil, err // nothing was assigned
	}
	return string(b), err
}

// guard makes an error of what a library does with data it did not expect, so that one event cannot end the process.
func guard(err *error) {
	if p := recover(); p != nil {
		*err = fault.Newf("message.Value", fault.Invalid, "the expression failed inside: %.200s", fmt.Sprint(p))
	}
}

// Bool evaluates a condition.
func (v *View) Bool(x *Expression) (bool, error) {
	value, err := v.Value(x)
	if err != nil {
		return false, err
	}
	b, ok := value.(bool)
	if !ok {
		return false, fault.Newf("message.Bool", fault.Invalid, "the condition is %s, not true or false", kind(value))
	}
	return b, nil
}

func kind(value any) string {
	switch value.(type) {
	case nil:
		return "null"
	case string, []byte:
		return "a text"
	case []any:
		return "an array"
	case map[string]any:
		return "an object"
	}
	return "a number or a time"
}

// Text is Value as text: texts as they are, others as JSON; ok is false for null.
func (v *View) Text(x *Expression) (text string, ok bool, err error) {
	value, err := v.Value(x)
	if err != nil || value == nil {
		return "", false, err
	}
	switch s := value.(type) {
	case string:
		return s, true, nil
	case []byte:
		return string(s), true, nil
	case json.Number:
		return s.String(), true, nil
	}
	b, err := json.Marshal(value)
	return string(b), err == nil, err
}

// Body is the body read as JSON, with what With added. It must not be changed.
func (v *View) Body() (any, error) {
	body, err := v.m.AsStructured()
	if err != nil {
		return nil, fault.New("message.Body", fault.Invalid, "the body is no JSON").Because(err)
	}
	return body, nil
}

// With adds a value that the following expressions find as this.NAME; the event stays as it is. Invalid when the body is no JSON object.
func (v *View) With(name string, value any) error {
	body, err := v.Body()
	if err != nil {
		return err
	}
	object, ok := body.(map[string]any)
	if !ok {
		return fault.Newf("message.With", fault.Invalid, "the body is %s, not a JSON object", kind(body))
	}
	wider := make(map[string]any, len(object)+1)
	maps.Copy(wider, object)
	wider[name] = value
	v.m.SetStructured(wider)
	return nil
}
