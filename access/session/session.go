package session

import (
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// Phase is what a record tells of.
type Phase string

const (
	Opened  Phase = "opened"
	Ended   Phase = "ended"
	Refused Phase = "refused" // it never was one
)

// End is why a session ended, or was refused.
type End string

const (
	EndClosed       End = "closed"       // one of the two ends said so, in order
	EndBroken       End = "broken"       // an end or the way between was lost
	EndExpired      End = "expired"      // the grant ended, or its working hours did
	EndRevoked      End = "revoked"      // the grant is gone from the plan: revoked, or its target disabled, changed or deleted
	EndIdle         End = "idle"         // nothing moved for as long as the policy lets it
	EndTotal        End = "total"        // it lasted as long as the policy lets it
	EndStopping     End = "stopping"     // the process that led there stopped
	EndLost         End = "lost"         // that process died; found at its next start
	NoGrant         End = "no-grant"     // no such grant in the plan
	NotYours        End = "another"      // the grant is another person's
	NotNow          End = "not-now"      // before it begins, after its end, or outside the working hours
	TooMany         End = "too-many"     // as many sessions are open as the policy lets a grant have
	Unreachable     End = "unreachable"  // the target did not answer
	NotRecordable   End = "no-recording" // it had to be recorded, which could not be done
	NotAllowedHere  End = "not-here"     // the machine's own settings forbid the address
	RejectedThere   End = "rejected"     // the device said no to the stream
	BadLogin        End = "bad-login"    // the SSH certificate was not good, or named another login
	CertificateGone End = "certificate"  // the pass was refused
)

// Record is one thing that happened to a session. Times are those of the process, corrected by what it knows of the control plane's clock.
type Record struct {
	Session string    `json:"session"` // 32 lower-case hexadecimal digits
	Phase   Phase     `json:"phase" enum:"opened,ended,refused"`
	At      time.Time `json:"at"`
	Grant   string    `json:"grant,omitempty"`
	Target  string    `json:"target,omitempty"` // uid
	Person  string    `json:"person,omitempty"` // SPIFFE id of the pass
	From    string    `json:"from,omitempty"`   // where the person's program says it is: an address
	To      string    `json:"to,omitempty"`     // what was dialled

	Opened    time.Time `json:"opened,omitzero"`     // ended: when it began
	Sent      uint64    `json:"sent,omitempty"`      // ended: bytes from the person
	Received  uint64    `json:"received,omitempty"`  // ended: bytes to the person
	End       End       `json:"end,omitempty"`       // ended, refused
	Login     string    `json:"login,omitempty"`     // SSH that ended here: the account
	Recording string    `json:"recording,omitempty"` // ended: name of what was recorded; the session's id
	Files     []File    `json:"files,omitempty"`     // ended: what scp and sftp carried, at most MaxFiles
	MoreFiles int       `json:"moreFiles,omitempty"` // how many more there were
	Commands  []string  `json:"commands,omitempty"`  // ended: what was run without a terminal, at most MaxCommands of 1000 bytes
	Words     string    `json:"words,omitempty"`     // what else there is to say, for people
	Agent     string    `json:"agent,omitempty"`     // SPIFFE id of the process; filled in by the control plane
	Repeated  bool      `json:"-"`                   // the control plane had it before
}

// File is one file that was carried.
type File struct {
	Name   string `json:"name"`   // as the program gave it
	Upload bool   `json:"upload"` // to the machine
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"` // hexadecimal; absent when it was not read or written whole and in order
}

// Bounds of a record.
const (
	MaxFiles    = 200
	MaxCommands = 50
	MaxText     = 1000
)

// Check refuses what no process of ours sends. Invalid says which field.
func (r *Record) Check() error {
	bad := func(what string) error {
		return fault.Newf("session.Check", fault.Invalid, "the record's %s cannot be right", what)
	}
	if len(r.Session) != 32 || !hexadecimal(r.Session) {
		return bad("session")
	}
	switch r.Phase {
	case Opened, Ended, Refused:
	default:
		return bad("phase")
	}
	for _, f := range []struct{ name, text string }{
		{"grant", r.Grant}, {"target", r.Target}, {"person", r.Person}, {"from", r.From}, {"to", r.To}, {"end", string(r.End)}, {"login", r.Login},
		{"recording", r.Recording}, {"words", r.Words},
	} {
		if len(f.text) > MaxText {
			return bad(f.name)
		}
	}
	if len(r.Files) > MaxFiles || r.MoreFiles < 0 || len(r.Commands) > MaxCommands {
		return bad("files")
	}
	for _, f := range r.Files {
		if len(f.Name) > MaxText || len(f.SHA256) != 0 && (len(f.SHA256) != 64 || !hexadecimal(f.SHA256)) {
			return bad("files")
		}
	}
	for _, c := range r.Commands {
		if len(c) > MaxText {
			return bad("commands")
		}
	}
	if r.At.IsZero() {
		return bad("time")
	}
	return nil
}

func hexadecimal(s string) bool {
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
