package provisioning

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/sas"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
)

// Right is what the holder of a policy's key may do (DPS: control access, permissions).
type Right uint32

const (
	ServiceConfig           Right = 1 << iota // link hubs, manage authorities, renew keys
	EnrollmentRead                            // read enrollments, without their keys
	EnrollmentWrite                           // change them, and read their keys
	RegistrationStatusRead                    // read what became of devices
	RegistrationStatusWrite                   // delete that
	DeviceConnect                             // nothing here: devices prove themselves by their enrollment

	EveryRight = ServiceConfig | EnrollmentRead | EnrollmentWrite | RegistrationStatusRead | RegistrationStatusWrite | DeviceConnect
)

var rightNames = []string{"ServiceConfig", "EnrollmentRead", "EnrollmentWrite", "RegistrationStatusRead", "RegistrationStatusWrite", "DeviceConnect"}

// Names returns the rights by their names.
func (r Right) Names() []string {
	var out []string
	for i, name := range rightNames {
		if r&(1<<i) != 0 {
			out = append(out, name)
		}
	}
	return out
}

func (r Right) String() string { return strings.Join(r.Names(), ", ") }

// The policies every service is born with. The first is Azure's.
const (
	PolicyOwner     = "provisioningserviceowner"
	PolicyReadWrite = "enrollmentReadWrite"
	PolicyRead      = "enrollmentRead"
)

func policyNames() []string { return []string{PolicyOwner, PolicyReadWrite, PolicyRead} }

func builtInPolicies() []provisioningstore.Policy {
	rights := []Right{EveryRight, EnrollmentRead | EnrollmentWrite | RegistrationStatusRead | RegistrationStatusWrite, EnrollmentRead | RegistrationStatusRead}
	out := make([]provisioningstore.Policy, len(rights))
	for i, name := range policyNames() {
		out[i] = provisioningstore.Policy{Name: name, Rights: uint32(rights[i]), PrimaryKey: newKey(32), SecondaryKey: newKey(32)}
	}
	return out
}

func (s *Service) setPolicies(list []provisioningstore.Policy) {
	next := map[string]provisioningstore.Policy{}
	for _, p := range list {
		next[p.Name] = p
	}
	s.policies.Store(&next)
}

// Authorize checks a service's SAS token: a policy's, covering this service, with the right needed. It returns the policy's name.
func (s *Service) Authorize(token string, need Right) (policy string, err error) {
	op := "provisioning.Authorize"
	if s.spec.Load().KeysOff {
		return "", fault.New(op, fault.Unauthenticated, "shared keys are switched off for this service").
			Advise("work on the machine that serves it, or set spec.keyAccess of the service to Enabled")
	}
	t, err := sas.Parse(token)
	if err != nil {
		return "", err
	}
	p, known := (*s.policies.Load())[t.Policy]
	// The signature first, so that nobody without a key learns what a policy may do.
	if signed := t.SignedBy(p.PrimaryKey, p.SecondaryKey); !signed || !known {
		return "", fault.New(op, fault.Unauthenticated, "the token is not signed with a key of a policy of this provisioning service").
			Advise("use the connection string of a policy, such as %s", PolicyOwner)
	}
	if !t.Covers(s.HostNames(), "") {
		return "", fault.Newf(op, fault.Denied, "the token is for another resource than %s", s.HostName()).Advise("sign sr=%s", s.HostName())
	}
	if Right(p.Rights)&need != need {
		return "", fault.Newf(op, fault.Denied, "policy %s does not have %s", p.Name, need).Advise("use a policy that has it, such as %s", PolicyOwner)
	}
	return t.Policy, s.fresh(t)
}

func (s *Service) fresh(t sas.Token) error {
	now := s.server.clock.Now()
	if now.Before(t.Expires) {
		return nil
	}
	return fault.Newf("provisioning.Authorize", fault.Expired, "the token ended %s ago", now.Sub(t.Expires).Round(time.Second)).
		Advise("make a new one, and compare the clocks of both machines if it was just made")
}

// Policy is a policy without its keys.
type Policy struct {
	Name   string
	Rights Right
}

// Policies returns the service's policies by name.
func (s *Service) Policies() []Policy {
	var out []Policy
	for _, p := range *s.policies.Load() {
		out = append(out, Policy{p.Name, Right(p.Rights)})
	}
	slices.SortFunc(out, func(a, b Policy) int { return strings.Compare(a.Name, b.Name) })
	return out
}

// ConnectionString returns what a person gives to a service SDK. It holds the policy's primary key.
func (s *Service) ConnectionString(policy string) (string, error) {
	p, ok := (*s.policies.Load())[policy]
	if !ok {
		return "", noPolicy("provisioning.ConnectionString")
	}
	return sas.ConnectionString{HostName: s.HostName(), Policy: p.Name, Key: p.PrimaryKey}.String(), nil
}

func noPolicy(op string) *fault.Error {
	return fault.New(op, fault.NotFound, "the service has no such policy").Advise("it has %s", strings.Join(policyNames(), ", "))
}

// RenewPolicyKey makes a new key in place of a policy's primary or secondary one. Tokens made with the old one are refused from then on.
func (s *Service) RenewPolicyKey(ctx context.Context, policy string, secondary bool) error {
	op := "provisioning.RenewPolicyKey"
	s.renewing.Lock()
	defer s.renewing.Unlock()
	next := maps.Clone(*s.policies.Load())
	p, ok := next[policy]
	if !ok {
		return noPolicy(op)
	}
	if secondary {
		p.SecondaryKey = newKey(32)
	} else {
		p.PrimaryKey = newKey(32)
	}
	if err := s.store().Write(ctx, func(tx *provisioningstore.Tx) error {
		return tx.SetPolicyKeys(s.id, policy, p.PrimaryKey, p.SecondaryKey)
	}); err != nil {
		return err
	}
	next[policy] = p
	s.policies.Store(&next)
	s.server.log.Info("provisioning: policy key renewed", "service", s.Name(), "policy", policy, "secondary", secondary)
	return nil
}
