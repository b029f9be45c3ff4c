package parity

import (
	"encoding/json"
	"hash/maphash"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/azureexport"
	"github.com/isthmus-io/isthmus/hub/twin"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

func (j *Judge) identity(i *azureexport.Identity) {
	d := i.Device()
	name := d.Name().String()
	key := maphash.String(j.seed, name)
	before := j.seen[key]
	now := before
	system := d.Name().IsSystem()
	if system {
		d.AuthType, d.PrimaryKey, d.SecondaryKey = "", "", "" // whatever it is there, the runtime's own
	}
	if !i.TwinOnly {
		if err := hub.Check(d); err != nil {
			j.note(identityBad, name, err)
			return
		}
	}
	if err := checkTwin(i); err != nil {
		j.note(twinBad, name, err)
		return
	}
	if d.Module == "" {
		now |= isDevice
	}
	if !i.TwinOnly {
		now |= known
		if before&known == 0 {
			j.newcomer(i, d, system)
		}
		j.proof(i, name, system, &now)
	} else if before&known == 0 && len(j.orphans) < maxCandidates {
		j.orphans = append(j.orphans, name)
	}
	if before&twinned == 0 && (!empty(i.Tags) || i.Properties != nil && !empty(i.Properties.Desired)) {
		now |= twinned
		j.note(twinsWritten, "", nil)
	}
	if before&reported == 0 && i.Properties != nil && !empty(i.Properties.Reported) {
		now |= reported
		j.note(twinsReported, "", nil)
	}
	j.seen[key] = now
}

// newcomer counts what an identity is, when it is met for the first time.
func (j *Judge) newcomer(i *azureexport.Identity, d hubstore.Device, system bool) {
	switch {
	case system: // comes with its device
	case d.Module != "":
		j.note(modules, "", nil)
	default:
		j.note(devices, "", nil)
		if d.Edge {
			j.note(edgeDevices, d.ID, nil)
		}
	}
	if d.Status == hubstore.Disabled {
		j.note(disabledDevices, "", nil)
	}
	if i.Parent != "" {
		j.parents[d.ID] = i.Parent
	}
	if i.Parent != "" || !d.Edge && d.Scope != "" || d.ParentScopes != "" {
		j.note(devicesBehind, "", nil)
	}
}

// proof notes with what an identity proves itself.
func (j *Judge) proof(i *azureexport.Identity, name string, system bool, now *bits) {
	if system {
		return
	}
	authType := ""
	if i.Authentication != nil {
		authType = i.Authentication.Type
	}
	if *now&(keyed|proven) == 0 {
		switch authType {
		case hub.AuthCertificateAuthority:
			j.vouched++
			j.note(byAuthority, "", nil)
		case hub.AuthNone:
			j.note(proofless, name, nil)
		}
	}
	if i.ByKey() {
		*now |= keyed
	}
	if i.HasProof() {
		if *now&proven != 0 && i.ByKey() && *now&again == 0 {
			*now |= again
			j.note(twice, name, nil)
		}
		*now |= proven
	} else if *now&proven == 0 && len(j.keyless) < maxCandidates {
		j.keyless = append(j.keyless, name)
	}
}

// empty tells whether a part of a twin holds nothing but what a hub adds itself.
func empty(part json.RawMessage) bool {
	if len(part) <= 2 {
		return true
	}
	var members map[string]json.RawMessage
	if json.Unmarshal(part, &members) != nil {
		return false // it is told elsewhere
	}
	for k := range members {
		if k != "$metadata" && k != "$version" {
			return false
		}
	}
	return true
}

// checkTwin makes the twin as the hub would.
func checkTwin(i *azureexport.Identity) error {
	if !i.HasTwin {
		return nil
	}
	var whole struct {
		Tags       json.RawMessage `json:"tags,omitempty"`
		Properties any             `json:"properties,omitempty"`
	}
	whole.Tags = i.Tags
	if i.Properties != nil {
		whole.Properties = i.Properties
	}
	b, err := json.Marshal(whole)
	if err != nil {
		return fault.Wrap("parity.checkTwin", fault.Invalid, err, "the twin is not JSON")
	}
	c, err := twin.ReadWhole(b)
	if err == nil {
		_, err = twin.New().With(c, time.Time{})
	}
	return err
}
