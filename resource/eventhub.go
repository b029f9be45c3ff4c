package resource

import (
	"regexp"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
)

// EventHub is one event hub of a namespace that Isthmus serves, as its resource declares it. What is declared cannot be changed by
// command; what is not declared may be made by command beside it.
type EventHub struct {
	Name       string `json:"name" doc:"1 to 256 letters, digits and . _ -, a letter or digit at both ends" example:"telemetry"`
	Partitions int    `json:"partitions,omitempty" minimum:"1" maximum:"1024" doc:"4 when absent; it cannot change later, since the partition of every key would"`
	// RetentionHours and RetentionBytes say when events are trimmed: older than this, or beyond so much in one partition.
	RetentionHours int              `json:"retentionHours,omitempty" minimum:"1" maximum:"2160" doc:"how long events are kept; 24 when absent"`
	RetentionBytes int64            `json:"retentionBytes,omitempty" minimum:"1048576" doc:"what one partition may hold, in bytes; no such limit when absent"`
	ConsumerGroups []string         `json:"consumerGroups,omitempty" doc:"beside $Default, which is always there" example:"[\"analytics\"]"`
	Policies       []EventHubPolicy `json:"policies,omitempty" doc:"access policies of this event hub alone; their keys are made by whoever serves it"`
}

// EventHubPolicy names rights. Its keys are nobody's to declare.
type EventHubPolicy struct {
	Name   string          `json:"name" doc:"as those of event hubs; unique in its event hub" example:"machines"`
	Rights []EventHubRight `json:"rights" doc:"Send, Listen and Manage, which means all three"`
}

// EventHubRight is what the holder of a policy's key may do.
type EventHubRight string

const (
	EventHubSend   EventHubRight = "Send"
	EventHubListen EventHubRight = "Listen"
	EventHubManage EventHubRight = "Manage" // the other two as well
)

// Bounds of what one namespace declares (Event Hubs: quotas).
const (
	MaxEventHubs         = 1000
	MaxEventHubPolicies  = 12
	MaxEventHubGroups    = 100 // beside $Default
	MaxEventHubRetention = 2160
	MinEventHubBytes     = 1 << 20
)

var (
	eventHubName  = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,254}[A-Za-z0-9])?$`)
	groupNameForm = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]{0,48}[A-Za-z0-9])?$`)
)

// validateEventHubs refuses what a namespace cannot have.
func (s *Service) validateEventHubs() error {
	op := "resource.Service.Validate"
	list := s.Spec.EventHubs
	if len(list) > 0 && s.Spec.Type != TypeEventHubs {
		return fault.Newf(op, fault.Invalid, "spec.eventHubs belongs to a service of type %s, this one is of type %s", TypeEventHubs, s.Spec.Type).
			Advise("a hub's events are read at its built-in endpoint; for event hubs of their own make a service of type %s", TypeEventHubs)
	}
	if len(list) > 0 && s.Spec.ServedBy == "" {
		return fault.New(op, fault.Invalid, "spec.eventHubs is for a namespace that Isthmus serves, and spec.servedBy names nobody").
			Advise("name the hub process in spec.servedBy, or leave spec.eventHubs out")
	}
	if len(list) > MaxEventHubs {
		return fault.Newf(op, fault.Invalid, "spec.eventHubs has %d entries, a namespace has at most %d", len(list), MaxEventHubs)
	}
	seen := map[string]bool{}
	for i := range list {
		if err := list[i].validate(); err != nil {
			return err
		}
		if key := strings.ToLower(list[i].Name); seen[key] {
			return fault.Newf(op, fault.Invalid, "spec.eventHubs has %s twice", list[i].Name).Advise("the case of letters does not tell names apart")
		} else {
			seen[key] = true
		}
	}
	return nil
}

func (e *EventHub) validate() error {
	op := "resource.EventHub.Validate"
	bad := func(format string, args ...any) *fault.Error { return fault.Newf(op, fault.Invalid, format, args...) }
	if !eventHubName.MatchString(e.Name) {
		return bad("%.80q is no name of an event hub", e.Name).Advise("use 1 to 256 letters, digits and . _ -, with a letter or digit at both ends")
	}
	switch {
	case e.Partitions < 0 || e.Partitions > 1024:
		return bad("event hub %s has %d partitions", e.Name, e.Partitions).Advise("1 to 1024, or leave it out for 4")
	case e.RetentionHours < 0 || e.RetentionHours > MaxEventHubRetention:
		return bad("event hub %s keeps events for %d hours", e.Name, e.RetentionHours).Advise("1 to %d, or leave it out for 24", MaxEventHubRetention)
	case e.RetentionBytes != 0 && e.RetentionBytes < MinEventHubBytes:
		return bad("a partition of event hub %s may hold %d bytes", e.Name, e.RetentionBytes).Advise("%d or more, or leave it out for no such limit", MinEventHubBytes)
	case len(e.ConsumerGroups) > MaxEventHubGroups:
		return bad("event hub %s has %d consumer groups, %d are allowed", e.Name, len(e.ConsumerGroups), MaxEventHubGroups)
	case len(e.Policies) > MaxEventHubPolicies:
		return bad("event hub %s has %d policies, %d are allowed", e.Name, len(e.Policies), MaxEventHubPolicies)
	}
	seen := map[string]bool{}
	for _, g := range e.ConsumerGroups {
		if key := strings.ToLower(g); !groupNameForm.MatchString(g) || seen[key] {
			return bad("consumer group %.60q of event hub %s cannot be, or is there twice", g, e.Name).
				Advise("use 1 to 50 letters, digits and . _ -, with a letter or digit at both ends; $Default is always there")
		} else {
			seen[key] = true
		}
	}
	clear(seen)
	for _, p := range e.Policies {
		if !eventHubName.MatchString(p.Name) || seen[strings.ToLower(p.Name)] {
			return bad("policy %.60q of event hub %s cannot be, or is there twice", p.Name, e.Name).Advise("names are letters, digits and . _ -")
		}
		seen[strings.ToLower(p.Name)] = true
		if len(p.Rights) == 0 {
			return bad("policy %s of event hub %s has no rights", p.Name, e.Name).Advise("give Send, Listen or Manage")
		}
		for _, r := range p.Rights {
			if !slices.Contains([]EventHubRight{EventHubSend, EventHubListen, EventHubManage}, r) {
				return bad("policy %s of event hub %s has the right %.40q", p.Name, e.Name, r).Advise("rights are Send, Listen and Manage")
			}
		}
	}
	return nil
}
