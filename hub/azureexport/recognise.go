package azureexport

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/isthmus-io/isthmus/hub/registryfile"
)

// object has the members by which things are told apart, and those of identities, which are most of what there is.
type object struct {
	registryfile.Line
	DeviceID    string                    `json:"deviceId"`
	AuthType    string                    `json:"authenticationType"`
	Thumbprints *registryfile.Thumbprints `json:"x509Thumbprint"`
	Keys        *registryfile.Keys        `json:"symmetricKey"`
	ModelID     string                    `json:"modelId"`

	Generation      json.RawMessage `json:"generationId"`
	Content         json.RawMessage `json:"content"`
	Registration    string          `json:"registrationId"`
	Group           string          `json:"enrollmentGroupId"`
	Attestation     json.RawMessage `json:"attestation"`
	Type            string          `json:"type"`
	Name            string          `json:"name"`
	HubEndpoint     string          `json:"eventHubEndpointName"`
	RouteEndpoints  json.RawMessage `json:"endpointNames"`
	JobID           string          `json:"jobId"`
	RegistrationEnd string          `json:"assignedHub"`
}

// recognise gives what one JSON value is.
func recognise(at At, text []byte, each func(At, Thing) error) error {
	var o object
	if len(text) == 0 || text[0] != '{' {
		if !json.Valid(text) {
			return each(at, wrong("azureexport.recognise", errors.New("it is not JSON"), "it"))
		}
		return each(at, &Other{"JSON that is no object"})
	}
	err := json.Unmarshal(text, &o)
	if _, isType := errors.AsType[*json.UnmarshalTypeError](err); err != nil && !isType {
		return each(at, wrong("azureexport.recognise", err, "it"))
	}
	switch {
	case len(o.Content) > 0 && o.ID != "" && o.Authentication == nil:
		return each(at, readConfiguration(text))
	case len(o.Attestation) > 0 && (o.Registration != "" || o.Group != ""):
		return each(at, readEnrollment(&o, text))
	case o.Registration != "":
		return each(at, &Other{"registrations of devices"})
	case isResource(o.Type):
		return readResource(at, o.Type, o.Name, text, nil, each)
	case o.HubEndpoint != "" && o.Name != "":
		return each(at, &ConsumerGroup{lastPart(o.Name), o.HubEndpoint})
	case len(o.RouteEndpoints) > 0:
		return each(at, &Other{"routes or enrichments alone: give what az iot hub show prints"})
	case o.JobID != "":
		return each(at, &Other{"jobs"})
	case o.DeviceID == "" && (o.ID == "" || strings.Contains(o.ID, "/")):
		return each(at, &Other{"something that is not recognised"})
	case err != nil:
		return each(at, wrong("azureexport.recognise", err, o.words()))
	}
	if i := o.identity(); i != nil {
		return each(at, i)
	}
	return each(at, &Other{"something with an id and nothing else"})
}

// words is which identity it is, as far as can be told.
func (o *object) words() string {
	l := o.Line
	if o.DeviceID != "" {
		l.ID = o.DeviceID
	}
	return l.Name().Words()
}

// identity is what is known of a device or a module, nil when that is nothing but its name.
func (o *object) identity() *Identity {
	i := &Identity{Line: o.Line, Shape: ExportLine, Model: o.ModelID, HasTwin: len(o.Tags) > 0 || o.Properties != nil}
	if o.DeviceID != "" {
		i.ID, i.Shape = o.DeviceID, IdentityShape
	}
	i.ImportMode, i.ETag, i.TwinETag = "", "", "" // those of another hub
	switch {
	case o.AuthType != "" && o.Authentication == nil:
		i.Shape = TwinShape
		i.Authentication = &registryfile.Authentication{Type: o.AuthType, X509Thumbprint: o.Thumbprints, SymmetricKey: o.Keys}
	case o.Authentication != nil:
	case i.Shape == ExportLine || o.Status != "" || len(o.Generation) > 0:
		if !i.HasTwin && o.Status == "" && len(o.Generation) == 0 && o.Capabilities == nil {
			return nil
		}
	case !i.HasTwin:
		return nil
	default:
		i.TwinOnly, i.Shape = true, TwinShape
	}
	i.settle()
	return i
}

// settle says in one way what shapes say in several.
func (i *Identity) settle() {
	if i.ModuleID != "" {
		i.Capabilities = nil
	}
	edge := i.Capabilities != nil && i.Capabilities.IoTEdge
	if !edge && i.DeviceScope == "" && len(i.ParentScopes) > 0 { // IoT Edge: of a leaf the two say the same
		i.DeviceScope = i.ParentScopes[0]
	}
	if !edge {
		i.ParentScopes = nil
	}
	if a := i.Authentication; a != nil {
		for known, name := range map[string]string{"sas": "sas", "selfsigned": "selfSigned", "certificateauthority": "certificateAuthority", "none": "none"} {
			if strings.EqualFold(a.Type, known) {
				a.Type = name
			}
		}
	}
}

func readConfiguration(text []byte) Thing {
	var c Configuration
	if err := json.Unmarshal(text, &c); err != nil {
		return wrong("azureexport.configuration", err, "a configuration")
	}
	return &c
}

func readEnrollment(o *object, text []byte) Thing {
	e := &Enrollment{ID: o.Registration, Document: append(json.RawMessage(nil), text...)}
	if o.Group != "" {
		e.Group, e.ID = true, o.Group
	}
	type certificates struct {
		Primary *struct{ Certificate string }
	}
	var a struct {
		Type         string
		SymmetricKey *registryfile.Keys
		X509         *struct {
			Client       *certificates `json:"clientCertificates"`
			Signing      *certificates `json:"signingCertificates"`
			CAReferences *struct{ Primary string }
		}
		TPM *struct{ EndorsementKey string }
	}
	if err := json.Unmarshal(o.Attestation, &a); err != nil {
		return wrong("azureexport.enrollment", err, "the attestation of an enrollment")
	}
	e.Attestation = a.Type
	e.HasKeys = a.SymmetricKey != nil && a.SymmetricKey.Primary != nil && *a.SymmetricKey.Primary != ""
	e.HasProof = a.TPM != nil && a.TPM.EndorsementKey != ""
	if x := a.X509; x != nil {
		has := func(c *certificates) bool { return c != nil && c.Primary != nil && c.Primary.Certificate != "" }
		e.HasProof = has(x.Client) || has(x.Signing) || x.CAReferences != nil && x.CAReferences.Primary != ""
	}
	return e
}
