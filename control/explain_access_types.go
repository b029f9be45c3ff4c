package control

// AccessQuestion asks why somebody gets into a target, or does not.
type AccessQuestion struct {
	Target string // TENANT/NETWORK/NAME; not needed with a grant
	Person string // name, or TENANT/NAME; the asker when empty
	Grant  string // id; the grant that is nearest to letting in when empty
}

// AccessExplanation is each condition in the order in which they are looked at.
type AccessExplanation struct {
	Target  string            `json:"target"`
	Person  string            `json:"person"`
	Grant   string            `json:"grant,omitempty" doc:"id of the grant it is about"`
	Open    bool              `json:"open" doc:"the person would be let in now, as far as the control plane can tell"`
	Summary string            `json:"summary"`
	Next    string            `json:"next,omitempty" doc:"what to do"`
	Steps   []AccessCondition `json:"steps"`
	Refused []SessionView     `json:"refused,omitempty" doc:"the last refusals of the process that leads there"`
}

// AccessCondition is one condition and whether it holds.
type AccessCondition struct {
	What   string `json:"what" example:"the target is enabled"`
	Holds  bool   `json:"holds"`
	Detail string `json:"detail,omitempty"`
	Next   string `json:"next,omitempty" doc:"what to do when it does not hold"`
}
