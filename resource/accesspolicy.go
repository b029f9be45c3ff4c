package resource

import (
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
)

// DefaultPolicy is the name of the access policy of targets that name none.
const DefaultPolicy = "default"

// AccessPolicy says who has to agree before somebody is let into a target, for how long it may be, and what is kept of it.
type AccessPolicy struct {
	Header
	Spec   AccessPolicySpec   `json:"spec"`
	Status AccessPolicyStatus `json:"status,omitzero"`
}

// Recording says what is kept of sessions beside who, when and how many bytes.
type Recording string

const (
	RecordingOff      Recording = "Off"      // also the meaning of an absent value
	RecordingRequired Recording = "Required" // SSH ends at the agent, which writes down what is typed and shown; other protocols: as Off
)

// AccessPolicySpec holds the rules. The zero value is what holds where a tenant has no policy.
type AccessPolicySpec struct {
	Approvals    *int `json:"approvals,omitempty" minimum:"0" maximum:"2" doc:"how many approvers must agree: 0, 1 or 2; 1 when absent"`
	SelfApproval bool `json:"selfApproval,omitempty" doc:"let an approver approve his own request"`

	MaxMinutes      int  `json:"maxMinutes,omitempty" minimum:"0" doc:"the longest a grant may last; 480 when absent, at most 10080 (a week)"`
	MaxAheadMinutes int  `json:"maxAheadMinutes,omitempty" minimum:"0" doc:"how far ahead a grant may begin; 10080 (a week) when absent"`
	WaitMinutes     int  `json:"waitMinutes,omitempty" minimum:"0" doc:"how long a request waits for approval; 1440 (a day) when absent"`
	Standing        bool `json:"standing,omitempty" doc:"allow standing grants, which let somebody in again and again"`
	MaxStandingDays int  `json:"maxStandingDays,omitempty" minimum:"0" doc:"the longest a standing grant may last; 90 when absent, at most 366"`

	BreakGlass        bool `json:"breakGlass,omitempty" doc:"let operators in at once in an emergency, without approval and with noise"`
	BreakGlassMinutes int  `json:"breakGlassMinutes,omitempty" minimum:"0" doc:"how long for; 60 when absent"`

	Recording           Recording     `json:"recording,omitempty" enum:"Off,Required" doc:"whether SSH sessions are recorded; Off when absent"`
	RecordingRecipients []string      `json:"recordingRecipients,omitempty" doc:"age public keys (age1…) that can open the recordings; when absent, auditors open them through the control plane"`
	Sessions            SessionLimits `json:"sessions,omitzero" doc:"bounds of the sessions"`
	Socks               bool          `json:"socks,omitempty" doc:"let a site's targets be reached by SOCKS5"`
}

// SessionLimits bound the sessions of a grant.
type SessionLimits struct {
	Each           int   `json:"each,omitempty" minimum:"0" doc:"open at the same time for one grant; 16 when absent"`
	IdleMinutes    int   `json:"idleMinutes,omitempty" minimum:"0" doc:"a session in which nothing moves for so long is ended; never when absent"`
	TotalMinutes   int   `json:"totalMinutes,omitempty" minimum:"0" doc:"the longest a session may last; as long as the grant when absent"`
	BytesPerSecond int64 `json:"bytesPerSecond,omitempty" minimum:"0" doc:"of one session, both ways together; no limit when absent"`
}

// AccessPolicyStatus is what Isthmus says of a policy.
type AccessPolicyStatus struct {
	Targets int `json:"targets" doc:"that name it"`
}

// Bounds of a policy.
const (
	MaxGrant         = 7 * 24 * time.Hour
	MaxStanding      = 366 * 24 * time.Hour
	maxAhead         = 90 * 24 * time.Hour
	maxBreakGlass    = 24 * time.Hour
	maxRecipients    = 16 // what recordings can be encrypted for
	maxSessionsEach  = 1000
	defaultSessions  = 16
	defaultMaxGrant  = 8 * time.Hour
	defaultAhead     = 7 * 24 * time.Hour
	defaultWait      = 24 * time.Hour
	defaultStanding  = 90 * 24 * time.Hour
	defaultEmergency = time.Hour
)

func (p *AccessPolicy) SpecAndStatus() (any, any) { return &p.Spec, &p.Status }

// ApprovalsNeeded is how many approvers must agree.
func (s *AccessPolicySpec) ApprovalsNeeded() int {
	if s.Approvals == nil {
		return 1
	}
	return *s.Approvals
}

func minutesOr(n int, instead time.Duration) time.Duration {
	if n == 0 {
		return instead
	}
	return time.Duration(n) * time.Minute
}

// Longest is the longest a grant may last.
func (s *AccessPolicySpec) Longest() time.Duration { return minutesOr(s.MaxMinutes, defaultMaxGrant) }

// Ahead is how far ahead a grant may begin.
func (s *AccessPolicySpec) Ahead() time.Duration { return minutesOr(s.MaxAheadMinutes, defaultAhead) }

// Wait is how long a request waits for approval.
func (s *AccessPolicySpec) Wait() time.Duration { return minutesOr(s.WaitMinutes, defaultWait) }

// LongestStanding is the longest a standing grant may last.
func (s *AccessPolicySpec) LongestStanding() time.Duration {
	return minutesOr(s.MaxStandingDays*minutesOfDay, defaultStanding)
}

// Emergency is how long breaking the glass lets somebody in.
func (s *AccessPolicySpec) Emergency() time.Duration {
	return minutesOr(s.BreakGlassMinutes, defaultEmergency)
}

// MostSessions is how many sessions of one grant may be open at the same time.
func (l SessionLimits) MostSessions() int {
	if l.Each == 0 {
		return defaultSessions
	}
	return l.Each
}

// Idle and Total are the limits of one session; 0 is none.
func (l SessionLimits) Idle() time.Duration  { return time.Duration(l.IdleMinutes) * time.Minute }
func (l SessionLimits) Total() time.Duration { return time.Duration(l.TotalMinutes) * time.Minute }

// Validate checks every number.
func (p *AccessPolicy) Validate() error {
	op := "resource.AccessPolicy.Validate"
	if err := p.validate(); err != nil {
		return err
	}
	s := &p.Spec
	if n := s.ApprovalsNeeded(); n < 0 || n > 2 {
		return fault.Newf(op, fault.Invalid, "spec.approvals is %d", n).Advise("write 0, 1 or 2")
	}
	for _, f := range []struct {
		field string
		n     int
		most  time.Duration
		unit  time.Duration
	}{
		{"maxMinutes", s.MaxMinutes, MaxGrant, time.Minute}, {"maxAheadMinutes", s.MaxAheadMinutes, maxAhead, time.Minute},
		{"waitMinutes", s.WaitMinutes, maxAhead, time.Minute}, {"maxStandingDays", s.MaxStandingDays, MaxStanding, 24 * time.Hour},
		{"breakGlassMinutes", s.BreakGlassMinutes, maxBreakGlass, time.Minute}, {"sessions.idleMinutes", s.Sessions.IdleMinutes, MaxStanding, time.Minute},
		{"sessions.totalMinutes", s.Sessions.TotalMinutes, MaxStanding, time.Minute},
	} {
		if f.n < 0 || f.n > int(f.most/f.unit) {
			return fault.Newf(op, fault.Invalid, "spec.%s is %d", f.field, f.n).Advise("give 0 to %d", int(f.most/f.unit))
		}
	}
	if s.Sessions.Each < 0 || s.Sessions.Each > maxSessionsEach || s.Sessions.BytesPerSecond < 0 {
		return fault.New(op, fault.Invalid, "spec.sessions has a number out of range").Advise("each is 0 to %d; bytesPerSecond is not below 0", maxSessionsEach)
	}
	switch s.Recording {
	case "", RecordingOff, RecordingRequired:
	default:
		return fault.Newf(op, fault.Invalid, "spec.recording is %q", s.Recording).Advise("write Off or Required")
	}
	if len(s.RecordingRecipients) > maxRecipients {
		return fault.Newf(op, fault.TooLarge, "spec.recordingRecipients has %d keys", len(s.RecordingRecipients)).Advise("a policy takes %d", maxRecipients)
	}
	for _, r := range s.RecordingRecipients {
		// Bech32 of 32 bytes; the file format's library reads the rest when it is used.
		if !strings.HasPrefix(r, "age1") || len(r) != 62 || strings.ContainsFunc(r, func(c rune) bool { return (c < 'a' || c > 'z') && (c < '0' || c > '9') }) {
			return fault.New(op, fault.Invalid, "spec.recordingRecipients has a text that is no age public key").Advise("make a key with age-keygen, and give the line that begins with age1")
		}
	}
	return nil
}
