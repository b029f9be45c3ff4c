package hub

import "encoding/json"

// MethodCall is a direct method which a device is asked to run.
type MethodCall struct {
	ID      string // short lower-case hex; the answer names it
	Name    string
	Payload json.RawMessage // nil when none was given
}
