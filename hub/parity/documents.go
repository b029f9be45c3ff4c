package parity

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/hub/azureexport"
	"github.com/isthmus-io/isthmus/hub/configuration"
	"github.com/isthmus-io/isthmus/provisioning"
)

// ConfigurationOf is the configuration as a hub here takes it.
func ConfigurationOf(c *azureexport.Configuration) (configuration.Configuration, error) {
	out := configuration.Configuration{ID: c.ID, Labels: c.Labels, Target: c.Target, Priority: c.Priority, Metrics: c.Metrics.Queries}
	for _, part := range []struct {
		text json.RawMessage
		into any
	}{{c.Content.Device, &out.Content.Device}, {c.Content.Module, &out.Content.Module}, {c.Content.Modules, &out.Content.Modules}} {
		if len(part.text) > 0 {
			if err := json.Unmarshal(part.text, part.into); err != nil {
				return out, notJSON(err, "the content of configuration "+c.ID)
			}
		}
	}
	// Azure may write the two that are not meant as well, empty.
	written := 0
	for _, n := range []int{len(out.Content.Device), len(out.Content.Module), len(out.Content.Modules)} {
		if n > 0 {
			written++
		}
	}
	if written == 1 {
		if len(out.Content.Device) == 0 {
			out.Content.Device = nil
		}
		if len(out.Content.Module) == 0 {
			out.Content.Module = nil
		}
		if len(out.Content.Modules) == 0 {
			out.Content.Modules = nil
		}
	}
	return out, nil
}

// EnrollmentOf is the document of an enrollment as a service here takes it: without what only the other service knows.
func EnrollmentOf(e *azureexport.Enrollment) (json.RawMessage, error) {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(e.Document, &members); err != nil {
		return nil, notJSON(err, "enrollment "+e.ID)
	}
	for _, own := range []string{"etag", "registrationState", "createdDateTimeUtc", "lastUpdatedDateTimeUtc"} {
		delete(members, own)
	}
	for k, v := range members {
		if string(v) == "null" {
			delete(members, k)
		}
	}
	b, err := json.Marshal(members)
	if err != nil {
		return nil, notJSON(err, "enrollment "+e.ID)
	}
	_, err = provisioning.ParseEnrollment(b, e.Group)
	return b, err
}

func (j *Judge) enrollment(e *azureexport.Enrollment) {
	kind, name := strings.ToLower(e.Attestation), strings.ToLower(e.ID)
	if e.Group {
		name = "group " + name
	}
	keyless := kind == "symmetrickey" && !e.HasKeys
	again := !j.first("enrollment", name)
	if again && keyless {
		return // the list, which shows no keys, and one that was shown with them
	}
	if again {
		if f := j.findings[enrollmentKeys]; f != nil && !j.first("keyless", name) {
			f.Count--
			f.Examples = without(f.Examples, e.ID)
			if f.Count == 0 {
				delete(j.findings, enrollmentKeys)
			}
		}
		return
	}
	if kind == "x509" && !e.HasProof {
		j.note(enrollmentProof, e.ID, nil)
		return
	}
	document, err := EnrollmentOf(e)
	if err != nil {
		j.note(enrollmentBad, e.ID, err)
		return
	}
	if e.Group {
		j.note(enrollmentGroups, e.ID, nil)
	} else {
		j.note(enrollments, e.ID, nil)
	}
	if keyless {
		j.first("keyless", name)
		j.note(enrollmentKeys, e.ID, nil)
	}
	j.allocation(e.ID, document)
}

// allocation notes how a hub is chosen.
func (j *Judge) allocation(id string, document json.RawMessage) {
	var e provisioning.Enrollment
	if json.Unmarshal(document, &e) != nil {
		return // it is told elsewhere
	}
	if strings.EqualFold(e.Allocation, provisioning.AllocateGeoLatency) {
		j.note(geoLatency, id, nil)
	}
	named := e.Hubs
	if e.HubHostName != "" {
		named = append(named, e.HubHostName)
	}
	if len(named) > 0 {
		j.note(enrollmentHubs, id+" names "+strings.Join(named, ", "), nil)
	}
	if e.Custom != nil {
		j.note(webhooks, id, nil)
	}
}

func without(list []string, item string) []string {
	return slices.DeleteFunc(list, func(s string) bool { return s == item })
}
