package resource

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/isthmus-io/isthmus/fault"
)

// Contract is what two tenants have agreed may cross from one to the other. It belongs to the tenant whose data it is, and holds once the
// other has accepted the same text. Every change is a new version, which has to be accepted again; until then the version before holds.
type Contract struct {
	Header
	Spec   ContractSpec   `json:"spec"`
	Status ContractStatus `json:"status,omitzero"`
}

// ContractSpec is the text. What it does not allow does not cross.
type ContractSpec struct {
	With     string            `json:"with" doc:"the tenant that receives; the own one for a contract with oneself" example:"it"`
	Purpose  string            `json:"purpose" maxLength:"2000" doc:"what the data is for, in words" example:"maintenance planning"`
	Until    time.Time         `json:"until,omitzero" doc:"nothing crosses from then on; no end when absent"`
	Messages []ContractMessage `json:"messages" doc:"the types of messages that may cross; the first that fits decides, and what fits none does not cross"`
	Limits   ContractLimits    `json:"limits,omitzero" doc:"how much may cross; beyond, events wait in the source"`
}

// ContractMessage is one type of message and what of it may cross.
type ContractMessage struct {
	Name       string          `json:"name" doc:"unique in the contract" example:"telemetry"`
	When       string          `json:"when,omitempty" doc:"Bloblang: tells whether a message is of this type; every message when absent" example:"@type == \"telemetry\""`
	Fields     []ContractField `json:"fields,omitempty" doc:"of the body, which must be a JSON object, by path"`
	WholeBody  bool            `json:"wholeBody,omitempty" doc:"the body crosses as it is, whatever it holds; fields must then be absent"`
	Properties []ContractField `json:"properties,omitempty" doc:"of the application properties, by name"`
	System     []ContractField `json:"system,omitempty" doc:"of what the hub says of a message: iothub-connection-device-id, iothub-connection-module-id, content-type, content-encoding, message-id, correlation-id, user-id, iothub-enqueuedtime, iothub-message-source and such"`
	Otherwise  Otherwise       `json:"otherwise,omitempty" enum:"Drop,DeadLetter" doc:"what becomes of fields and properties that are not listed: Drop them (when absent), or DeadLetter the message"`
}

// Otherwise says what becomes of what is not listed.
type Otherwise string

const (
	OtherwiseDrop       Otherwise = "Drop" // also the meaning of an absent value
	OtherwiseDeadLetter Otherwise = "DeadLetter"
)

// ContractField is one field that may cross, and how.
type ContractField struct {
	Path     string   `json:"path" doc:"names with dots between them; * stands for every element of an array or every name of an object" example:"motor.temperature"`
	Rename   string   `json:"rename,omitempty" doc:"the path it has on the other side"`
	Hash     bool     `json:"hash,omitempty" doc:"what crosses is a keyed hash (HMAC-SHA-256 with a key the receiver does not have): equal values stay equal and cannot be read"`
	Drop     bool     `json:"drop,omitempty" doc:"it does not cross, though a path above it does, or otherwise says DeadLetter"`
	Required bool     `json:"required,omitempty" doc:"a message without it breaks the contract"`
	Type     string   `json:"type,omitempty" enum:"text,number,boolean" doc:"a value of another type breaks the contract; any when absent"`
	Min      *float64 `json:"min,omitempty" doc:"of numbers"`
	Max      *float64 `json:"max,omitempty" doc:"of numbers"`
	OneOf    []string `json:"oneOf,omitempty" doc:"of texts"`
}

// ContractLimits bounds what crosses. 0 is no limit.
type ContractLimits struct {
	EventsPerSecond int   `json:"eventsPerSecond,omitempty" minimum:"0" doc:"on the average; in the first second after a pause up to twice as many"`
	EventsPerDay    int64 `json:"eventsPerDay,omitempty" minimum:"0" doc:"days are those of UTC"`
	BytesPerDay     int64 `json:"bytesPerDay,omitempty" minimum:"0" doc:"of bodies and properties as they cross"`
	MaxEventBytes   int   `json:"maxEventBytes,omitempty" minimum:"0" doc:"a larger one breaks the contract"`
}

// ContractState is how far the agreement is.
type ContractState string

const (
	ContractProposed  ContractState = "Proposed"  // no version was accepted yet
	ContractAgreed    ContractState = "Agreed"    // the newest version was accepted
	ContractChanged   ContractState = "Changed"   // an older version holds, a newer one waits to be accepted
	ContractWithdrawn ContractState = "Withdrawn" // one side has ended it: nothing crosses until a version is accepted anew
)

// ContractStatus is what Isthmus says of a contract. Both tenants see the same.
type ContractStatus struct {
	State   ContractState `json:"state,omitempty" enum:"Proposed,Agreed,Changed,Withdrawn" doc:"Agreed: what is in spec holds; Changed: an older version holds"`
	Version int64         `json:"version,omitempty" doc:"of the text in spec"`
	Digest  string        `json:"digest,omitempty" doc:"SHA-256 of that text in its canonical form, in hexadecimal"`
	// Proposal is the owner's signature of the text in spec. Absent once it holds, and after the owner has withdrawn it.
	Proposal *ContractSignature `json:"proposal,omitempty" doc:"the owner's signature of the text in spec, while the other tenant has not accepted it"`

	Agreed  *AgreedContract   `json:"agreed,omitempty" doc:"the version that holds"`
	Why     string            `json:"why,omitempty" doc:"the reason given with the last decision"`
	Bridges []string          `json:"bridges,omitempty" doc:"those that name it, as far as the reader may see them"`
	History []ContractHistory `json:"history,omitempty" doc:"the last decisions, the newest last"`
}

// AgreedContract is a version that both tenants have signed.
type AgreedContract struct {
	Version    int64               `json:"version" doc:"of the text"`
	Digest     string              `json:"digest" doc:"SHA-256 of the text, in hexadecimal"`
	Text       string              `json:"text" doc:"what was signed, byte for byte"`
	Signatures []ContractSignature `json:"signatures" doc:"one of each side"`
}

// ContractSignature says that a tenant agreed, by whom and when. It is made with the key of the deployment's authority, which signs
// checkpoints of the audit log too, over the bytes that SignedBytes returns.
type ContractSignature struct {
	Tenant    string    `json:"tenant" doc:"for which it was made"`
	By        string    `json:"by" doc:"who agreed for the tenant"`
	At        time.Time `json:"at" doc:"when"`
	Authority string    `json:"authority" doc:"fingerprint (SHA-256) of the certificate of the authority whose key it was made with"`
	Signature string    `json:"signature" doc:"base64; over the lines isthmus-contract/v1, the contract's path, version, digest, tenant, by, at and authority"`
}

// SignedBytes is what is signed: eight lines without a line feed behind the last. By stands before two lines and behind five that hold no
// line feed, so that no two signatures have the same bytes.
func (s *ContractSignature) SignedBytes(contract string, version int64, digest string) []byte {
	return []byte(strings.Join([]string{
		"isthmus-contract/v1", contract, strconv.FormatInt(version, 10), digest, s.Tenant, s.By, s.At.UTC().Format(time.RFC3339Nano), s.Authority,
	}, "\n"))
}

// Read takes the text apart. Invalid when it is no contract's, or not the one whose digest and version stand beside it.
func (a *AgreedContract) Read() (contract Key, spec ContractSpec, err error) {
	op := "resource.AgreedContract.Read"
	var t struct {
		Contract string       `json:"contract"`
		Version  int64        `json:"version"`
		Spec     ContractSpec `json:"spec"`
	}
	d := json.NewDecoder(strings.NewReader(a.Text))
	d.DisallowUnknownFields()
	if err := d.Decode(&t); err != nil {
		return Key{}, ContractSpec{}, fault.New(op, fault.Invalid, "the text is no contract's").Because(err).Advise("give it as isthmus contract show -o json prints it")
	}
	sum := sha256.Sum256([]byte(a.Text))
	if a.Digest != hex.EncodeToString(sum[:]) || a.Version != t.Version {
		return Key{}, ContractSpec{}, fault.New(op, fault.Invalid, "the text is not the one that was signed: its digest or its version is another").
			Advise("it has been changed since: ask for it anew with isthmus contract show -o json")
	}
	contract, err = ParseKey(KindContract, t.Contract)
	return contract, t.Spec, err
}

// ContractHistory is one decision.
type ContractHistory struct {
	At      time.Time `json:"at" doc:"when"`
	By      string    `json:"by" doc:"who decided"`
	Tenant  string    `json:"tenant" doc:"for which side"`
	What    string    `json:"what" enum:"proposed,accepted,rejected,withdrawn" doc:"what was decided"`
	Version int64     `json:"version" doc:"of the text then"`
	Reason  string    `json:"reason,omitempty" doc:"as both sides read it"`
}

// Bounds of a contract.
const (
	MaxContractMessages = 50
	MaxContractFields   = 500
	MaxContractHistory  = 50
	maxPurpose          = 2000
	maxPathNames        = 16
	maxPathName         = 128
)

func (c *Contract) SpecAndStatus() (any, any) { return &c.Spec, &c.Status }

// Text returns the canonical form of what is agreed: the contract's path and version and the spec as JSON without spaces, and its SHA-256
// in hexadecimal.
func (c *Contract) Text(version int64) (text, digest string) {
	b, err := json.Marshal(struct {
		Contract string       `json:"contract"`
		Version  int64        `json:"version"`
		Spec     ContractSpec `json:"spec"`
	}{c.Key().Path(), version, c.Spec})
	if err != nil {
		panic("resource: a contract must marshal: " + err.Error())
	}
	sum := sha256.Sum256(b)
	return string(b), hex.EncodeToString(sum[:])
}

// Validate checks the text, and that it does not contradict itself.
func (c *Contract) Validate() error {
	op := "resource.Contract.Validate"
	if err := c.validate(); err != nil {
		return err
	}
	s := &c.Spec
	if err := ValidateName(s.With); err != nil {
		return within(op, "spec.with", err)
	}
	bad := func(format string, args ...any) *fault.Error { return fault.Newf(op, fault.Invalid, format, args...) }
	switch l := s.Limits; {
	case strings.TrimSpace(s.Purpose) == "" || len(s.Purpose) > maxPurpose:
		return bad("spec.purpose has %d bytes", len(s.Purpose)).Advise("say what the data is for, in 1 to %d", maxPurpose)
	case len(s.Messages) == 0 || len(s.Messages) > MaxContractMessages:
		return bad("spec.messages has %d entries", len(s.Messages)).Advise("list 1 to %d types of messages: what is not listed does not cross", MaxContractMessages)
	case l.EventsPerSecond < 0 || l.EventsPerDay < 0 || l.BytesPerDay < 0 || l.MaxEventBytes < 0:
		return bad("spec.limits has a number below 0").Advise("0 is no limit")
	case l.MaxEventBytes > 0 && l.BytesPerDay > 0 && int64(l.MaxEventBytes) > l.BytesPerDay:
		return bad("spec.limits lets one event have %d bytes and a day %d", l.MaxEventBytes, l.BytesPerDay).Advise("such an event would wait for ever: make one of the two fit")
	}
	seen := map[string]bool{}
	for i := range s.Messages {
		m := &s.Messages[i]
		if !stepName.MatchString(m.Name) || seen[m.Name] {
			return bad("%.60q cannot be a type of message, or is there twice", m.Name).Advise("use a-z, 0-9 and -")
		}
		seen[m.Name] = true
		if i > 0 && s.Messages[i-1].When == "" {
			return bad("message %s can never fit: %s before it fits every message", m.Name, s.Messages[i-1].Name).Advise("put the one without when last")
		}
		if err := m.validate(op); err != nil {
			return err
		}
	}
	return nil
}

func (m *ContractMessage) validate(op string) error {
	bad := func(format string, args ...any) *fault.Error {
		return fault.Newf(op, fault.Invalid, "message "+m.Name+": "+format, args...)
	}
	switch {
	case m.WholeBody && len(m.Fields) > 0:
		return bad("wholeBody and fields contradict each other").Advise("take one of the two out")
	case m.Otherwise != "" && m.Otherwise != OtherwiseDrop && m.Otherwise != OtherwiseDeadLetter:
		return bad("otherwise is %.20q", m.Otherwise).Advise("use Drop or DeadLetter")
	case len(m.Fields)+len(m.Properties)+len(m.System) > MaxContractFields:
		return bad("it lists %d fields", len(m.Fields)+len(m.Properties)+len(m.System)).Advise("keep it to %d", MaxContractFields)
	}
	if err := checkBloblang(op, "message "+m.Name+".when", m.When, false); err != nil {
		return err
	}
	for part, list := range map[string][]ContractField{"fields": m.Fields, "properties": m.Properties, "system": m.System} {
		if err := checkFields(op, "message "+m.Name+"."+part, list, part == "fields"); err != nil {
			return err
		}
	}
	return nil
}

// isPath tells whether a text is 1 to 16 names with dots between them.
func isPath(s string) bool {
	names := strings.Split(s, ".")
	if len(names) > maxPathNames {
		return false
	}
	for _, n := range names {
		if n == "" || len(n) > maxPathName || strings.ContainsFunc(n, unicode.IsControl) {
			return false
		}
	}
	return true
}

// checkFields refuses lists that say two things about one field, or let two fields become one.
func checkFields(op, where string, list []ContractField, paths bool) error {
	at := map[string]bool{}
	becomes := map[string]string{}
	for i := range list {
		f := &list[i]
		bad := func(format string, args ...any) *fault.Error {
			return fault.Newf(op, fault.Invalid, where+": "+f.Path+": "+format, args...)
		}
		switch {
		case f.Path == "" || paths && !isPath(f.Path) || len(f.Path) > 1024:
			return fault.Newf(op, fault.Invalid, "%s: %.60q is no path", where, f.Path).Advise("write names with dots between them")
		case at[f.Path]:
			return bad("it is there twice").Advise("a field has one rule")
		case f.Drop && (f.Rename != "" || f.Hash || f.Required):
			return bad("what is dropped cannot be renamed, hashed or required").Advise("take drop out, or the others")
		case f.Hash && (f.Min != nil || f.Max != nil) && f.Type != "number":
			return bad("bounds are of numbers").Advise("give type: number")
		case (f.Min != nil || f.Max != nil) && f.Type != "" && f.Type != "number":
			return bad("bounds are of numbers, the type is %s", f.Type)
		case f.Min != nil && f.Max != nil && *f.Min > *f.Max:
			return bad("no number is at least %g and at most %g", *f.Min, *f.Max)
		case len(f.OneOf) > 0 && f.Type != "" && f.Type != "text":
			return bad("oneOf is of texts, the type is %s", f.Type)
		case !slices.Contains([]string{"", "text", "number", "boolean"}, f.Type):
			return bad("type is %.20q", f.Type).Advise("use text, number or boolean")
		case f.Rename != "" && paths && (!isPath(f.Rename) || strings.Count(f.Rename, "*") != strings.Count(f.Path, "*")):
			return bad("it cannot become %.60q", f.Rename).Advise("a new path has as many * as the old one")
		}
		at[f.Path] = true
		if f.Drop {
			continue
		}
		to := f.Rename
		if to == "" {
			to = f.Path
		}
		if other, twice := becomes[to]; twice {
			return bad("it becomes %s, as %s does", to, other).Advise("give them different names")
		}
		becomes[to] = f.Path
	}
	for to, from := range becomes { // a.b and a both arriving at a: one would be put into the other
		for other, source := range becomes {
			if other != to && strings.HasPrefix(other, to+".") && (to != from || other != source) {
				return fault.Newf(op, fault.Invalid, "%s: %s becomes %s, which is inside %s", where, source, other, to).Advise("give it a path of its own")
			}
		}
	}
	return nil
}
