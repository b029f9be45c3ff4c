package azureexport

import (
	"encoding/json"
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/registryfile"
)

// Thing is a pointer to one of the types of this package that Read gives.
type Thing any

// At is where in a file a thing stands.
type At struct {
	Line int    // of a file of lines; 0 in others
	Path string // in other files, such as devices.sensor-1 or [12]
}

func (a At) String() string {
	switch {
	case a.Line > 0:
		return "line " + strconv.Itoa(a.Line)
	case a.Path == "":
		return "the file"
	}
	return a.Path
}

// Shape is the form in which an identity was found.
type Shape string

const (
	ExportLine    Shape = "devices.txt of an export job"
	IdentityShape Shape = "az iot hub device-identity show, module-identity list"
	TwinShape     Shape = "az iot hub device-twin list, module-twin show"
	StateShape    Shape = "az iot hub state export"
)

// Identity is a device or a module with what the file knows of its twin.
type Identity struct {
	registryfile.Line
	Shape    Shape
	TwinOnly bool   // the file says nothing of the identity itself
	HasTwin  bool   // tags or properties are known
	Parent   string // id of the edge device it is behind, where the file says that and not the scope
	Model    string // DTMI
}

// HasProof tells whether the file holds all that the identity proves itself with: keys, a thumbprint, or an authority's word.
func (i *Identity) HasProof() bool {
	a := i.Authentication
	if a == nil || i.TwinOnly {
		return false
	}
	has := func(s *string) bool { return s != nil && *s != "" }
	switch a.Type {
	case hub.AuthCertificateAuthority, hub.AuthNone:
		return true
	case hub.AuthSelfSigned:
		return a.X509Thumbprint != nil && has(a.X509Thumbprint.Primary)
	}
	return a.SymmetricKey != nil && has(a.SymmetricKey.Primary)
}

// ByKey tells whether the identity proves itself by a shared access key.
func (i *Identity) ByKey() bool {
	a := i.Authentication
	if a == nil {
		return true // as a hub takes it
	}
	x509 := a.X509Thumbprint != nil && a.X509Thumbprint.Primary != nil && *a.X509Thumbprint.Primary != ""
	return a.Type == hub.AuthSAS || a.Type == "" && !x509
}

// MarshalJSON gives the identity as POST /isthmus/v1/import takes it.
func (i *Identity) MarshalJSON() ([]byte, error) {
	return json.Marshal(struct {
		registryfile.Line
		TwinOnly bool   `json:"twinOnly,omitempty"`
		Parent   string `json:"parentDeviceId,omitempty"`
		Model    string `json:"modelId,omitempty"`
	}{i.Line, i.TwinOnly, i.Parent, i.Model})
}

// Configuration is an automatic device or module configuration, or an edge deployment.
type Configuration struct {
	ID       string            `json:"id"`
	Labels   map[string]string `json:"labels"`
	Content  Content           `json:"content"`
	Target   string            `json:"targetCondition"`
	Priority int64             `json:"priority"`
	Metrics  struct {
		Queries map[string]string `json:"queries"`
	} `json:"metrics"`
}

// Content is what a configuration writes.
type Content struct {
	Device  json.RawMessage `json:"deviceContent,omitempty"`
	Module  json.RawMessage `json:"moduleContent,omitempty"`
	Modules json.RawMessage `json:"modulesContent,omitempty"`
}

// Enrollment is one of a provisioning service, or a group.
type Enrollment struct {
	Group       bool
	ID          string
	Attestation string          // symmetricKey, x509, tpm, in any case
	Document    json.RawMessage // as it was found
	HasKeys     bool            // of symmetricKey: the list of enrollments has none
	HasProof    bool            // of x509: certificates, or names of them; of tpm: the key
}

// Authority is a certificate authority of a hub or a provisioning service.
type Authority struct {
	Name         string
	Provisioning bool // of a provisioning service
	Verified     bool
	Subject      string
	Content      string // as it was found; empty when the file does not hold it
}

// ConsumerGroup is one of an endpoint.
type ConsumerGroup struct{ Name, Endpoint string }

// Other is something that is recognised, or not, and is nothing to bring.
type Other struct{ What string }

// Wrong is something that cannot be read; what stands after it can.
type Wrong struct{ Err error }

func wrong(op string, err error, what string) *Wrong {
	return &Wrong{fault.Newf(op, fault.Invalid, "%s cannot be read: %v", what, err).Because(err)}
}
