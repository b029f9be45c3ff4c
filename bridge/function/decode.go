package function

import (
	"bytes"
	"encoding/json"
	"errors"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/bridge"
	"github.com/isthmus-io/isthmus/bridge/event"
	"github.com/isthmus-io/isthmus/fault"
)

// answer is one event as a function writes it.
type answer struct {
	Body       json.RawMessage `json:"body"`
	Text       *string         `json:"text"`
	Base64     *[]byte         `json:"base64"`
	Properties *properties     `json:"properties"`
	System     *properties     `json:"system"`
	Key        *string         `json:"key"`
}

// outcome is what a function says of one event.
type outcome struct {
	events  []answer
	refused *string
}

var errOutcome = errors.New(`an element is neither an array of events nor {"refused": "why"}`)

func (o *outcome) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] == '[' {
		return json.Unmarshal(b, &o.events)
	}
	var r struct {
		Refused *string `json:"refused"`
	}
	if err := json.Unmarshal(b, &r); err != nil || r.Refused == nil {
		return errOutcome
	}
	o.refused = r.Refused
	return nil
}

// maxRefused is how much of a function's reason is kept.
const maxRefused = 500

// parseAnswer reads what becomes of a batch. The errors hold nothing of the answer.
func parseAnswer(b []byte, batch []*event.Event) ([]bridge.Outcome, error) {
	bad := func(words string) error { return fault.New("function.parseAnswer", fault.Invalid, words) }
	var list []outcome
	if err := json.Unmarshal(b, &list); err != nil {
		if errors.Is(err, errOutcome) {
			return nil, bad("in the function's answer " + errOutcome.Error())
		}
		return nil, bad("the function's answer is no JSON array of arrays of events")
	}
	if len(list) != len(batch) {
		return nil, bad("the function was given " + strconv.Itoa(len(batch)) + " events and answers for " + strconv.Itoa(len(list)))
	}
	out := make([]bridge.Outcome, len(batch))
	for i := range list {
		if r := list[i].refused; r != nil {
			words := "the function gave no reason"
			if *r != "" {
				words = strings.ToValidUTF8((*r)[:min(len(*r), maxRefused)], "")
			}
			out[i].Refused = fault.New("function", fault.Invalid, words)
			continue
		}
		events := make([]*event.Event, len(list[i].events))
		for j := range list[i].events {
			e, err := list[i].events[j].event(batch[i]) //nolint:gosec // there are as many
			if err != nil {
				return nil, err
			}
			events[j] = e
		}
		out[i].Events = events
	}
	return out, nil
}

// event makes the event, given the one it came from.
func (a *answer) event(from *event.Event) (*event.Event, error) {
	e := &event.Event{Origin: from.Origin, Repeat: from.Repeat, Key: from.Key}
	forms := 0
	if a.Body != nil {
		forms, e.Body = forms+1, a.Body
	}
	if a.Text != nil {
		forms, e.Body = forms+1, []byte(*a.Text)
	}
	if a.Base64 != nil {
		forms, e.Body = forms+1, *a.Base64
	}
	switch forms {
	case 0:
		e.Body = from.Body
	case 1:
	default:
		return nil, fault.New("function.parseAnswer", fault.Invalid, "an event of the function's answer has more than one of body, text and base64")
	}
	e.Properties, e.System = slices.Clone(from.Properties), slices.Clone(from.System)
	if a.Properties != nil {
		e.Properties = *a.Properties
	}
	if a.System != nil {
		e.System = *a.System
	}
	if a.Key != nil {
		e.Key = *a.Key
	}
	return e, nil
}

// properties keeps the order in which they stand.
type properties []event.Property

var errValue = errors.New("a property is no text, number, boolean, time or bytes")

func (p *properties) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.UseNumber()
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errValue
	}
	for d.More() {
		name, err := d.Token()
		if err != nil {
			return err
		}
		v, err := value(d)
		if err != nil {
			return err
		}
		*p = event.Set(*p, name.(string), v) //nolint:forcetypeassert // names of objects are texts
	}
	return nil
}

func value(d *json.Decoder) (any, error) {
	var raw any
	if err := d.Decode(&raw); err != nil {
		return nil, err
	}
	switch v := raw.(type) {
	case nil, string, bool:
		return v, nil
	case json.Number:
		return numberOf(string(v))
	case map[string]any:
		if s, ok := v["time"].(string); ok && len(v) == 1 {
			t, err := time.Parse(time.RFC3339Nano, s)
			return t, err
		}
		if s, ok := v["base64"].(string); ok && len(v) == 1 {
			var b []byte
			err := json.Unmarshal([]byte(strconv.Quote(s)), &b)
			return b, err
		}
	}
	return nil, errValue
}

func numberOf(s string) (any, error) {
	if !strings.ContainsAny(s, ".eE") {
		if i, err := strconv.ParseInt(s, 10, 64); err == nil {
			return i, nil
		}
		if u, err := strconv.ParseUint(s, 10, 64); err == nil {
			return u, nil
		}
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsInf(f, 0) {
		return nil, errValue
	}
	return f, nil
}
