package provisioning

import (
	"encoding/json"
	"time"
)

// How an enrollment lets a device prove itself.
const (
	AttestNone         = "none"
	AttestTPM          = "tpm"
	AttestX509         = "x509"
	AttestSymmetricKey = "symmetricKey"
)

// How a hub is chosen.
const (
	AllocateHashed     = "hashed"
	AllocateGeoLatency = "geoLatency"
	AllocateStatic     = "static"
	AllocateCustom     = "custom"
)

// Whether a device may register.
const (
	Enabled  = "enabled"
	Disabled = "disabled"
)

// Enrollment is an enrollment or an enrollment group, as a document (DPS service REST API, 2021-10-01).
type Enrollment struct {
	RegistrationID string             `json:"registrationId,omitempty"`    // of an individual enrollment
	GroupID        string             `json:"enrollmentGroupId,omitempty"` // of a group
	DeviceID       string             `json:"deviceId,omitempty"`          // at the hub; the registration id when empty
	Attestation    Attestation        `json:"attestation"`
	Capabilities   *Capabilities      `json:"capabilities,omitempty"`
	HubHostName    string             `json:"iotHubHostName,omitempty"`
	Hubs           []string           `json:"iotHubs,omitempty"` // that the policy chooses among; empty for all linked hubs
	InitialTwin    *InitialTwin       `json:"initialTwin,omitempty"`
	ETag           string             `json:"etag,omitempty"`
	Status         string             `json:"provisioningStatus,omitempty"`
	Reprovision    *ReprovisionPolicy `json:"reprovisionPolicy,omitempty"`
	Created        string             `json:"createdDateTimeUtc,omitempty"`
	Updated        string             `json:"lastUpdatedDateTimeUtc,omitempty"`
	Allocation     string             `json:"allocationPolicy,omitempty"`
	Custom         *CustomAllocation  `json:"customAllocationDefinition,omitempty"`
	Information    json.RawMessage    `json:"optionalDeviceInformation,omitempty"`
	State          *State             `json:"registrationState,omitempty"` // only when read
}

// Attestation is the proof an enrollment asks for.
type Attestation struct {
	Type         string           `json:"type"`
	TPM          *TPMKeys         `json:"tpm,omitempty"`
	X509         *X509Attestation `json:"x509,omitempty"`
	SymmetricKey *SymmetricKeys   `json:"symmetricKey,omitempty"`
}

// TPMKeys are the public keys of a device's TPM, base64.
type TPMKeys struct {
	EndorsementKey string `json:"endorsementKey"`
	StorageRootKey string `json:"storageRootKey,omitempty"`
}

// SymmetricKeys are base64 of 16 to 64 bytes.
type SymmetricKeys struct {
	Primary   string `json:"primaryKey,omitempty"`
	Secondary string `json:"secondaryKey,omitempty"`
}

// X509Attestation names certificates: a device's own, or those of authorities.
type X509Attestation struct {
	Client       *Certificates `json:"clientCertificates,omitempty"`
	Signing      *Certificates `json:"signingCertificates,omitempty"`
	CAReferences *CAReferences `json:"caReferences,omitempty"`
}

// Certificates are two, so that one can be replaced while the other serves.
type Certificates struct {
	Primary   *Certificate `json:"primary,omitempty"`
	Secondary *Certificate `json:"secondary,omitempty"`
}

// Certificate is given as PEM, or as base64 of DER or PEM; it is kept as base64 of DER.
type Certificate struct {
	Certificate string           `json:"certificate,omitempty"`
	Info        *CertificateInfo `json:"info,omitempty"`
}

// CertificateInfo is what is shown of a certificate.
type CertificateInfo struct {
	Subject      string `json:"subjectName"`
	SHA1         string `json:"sha1Thumbprint"`
	SHA256       string `json:"sha256Thumbprint"`
	Issuer       string `json:"issuerName"`
	NotBefore    string `json:"notBeforeUtc"`
	NotAfter     string `json:"notAfterUtc"`
	SerialNumber string `json:"serialNumber"`
	Version      int    `json:"version"`
}

// CAReferences are names of certificates that the service has verified.
type CAReferences struct {
	Primary   string `json:"primary,omitempty"`
	Secondary string `json:"secondary,omitempty"`
}

// Capabilities of the device at the hub.
type Capabilities struct {
	IoTEdge bool `json:"iotEdge"`
}

// InitialTwin is what a new device's twin begins with.
type InitialTwin struct {
	Tags       json.RawMessage `json:"tags,omitempty"`
	Properties *TwinProperties `json:"properties,omitempty"`
}

// TwinProperties of an initial twin.
type TwinProperties struct {
	Desired json.RawMessage `json:"desired,omitempty"`
}

// ReprovisionPolicy says what happens when a device registers again: whether it may go to another hub, and whether its twin goes with it
// or begins anew.
type ReprovisionPolicy struct {
	UpdateHubAssignment bool `json:"updateHubAssignment"`
	MigrateDeviceData   bool `json:"migrateDeviceData"`
}

// CustomAllocation is the webhook that chooses a hub.
type CustomAllocation struct {
	WebhookURL string `json:"webhookUrl"`
	APIVersion string `json:"apiVersion"`
}

// id is what it is found by.
func (e *Enrollment) id(group bool) string {
	if group {
		return e.GroupID
	}
	return e.RegistrationID
}

// redacted returns a copy without keys and certificates.
func (e Enrollment) redacted() Enrollment {
	if e.Attestation.SymmetricKey != nil {
		e.Attestation.SymmetricKey = &SymmetricKeys{}
	}
	if x := e.Attestation.X509; x != nil {
		c := *x
		c.Client, c.Signing = c.Client.infos(), c.Signing.infos()
		e.Attestation.X509 = &c
	}
	return e
}

func (c *Certificates) infos() *Certificates {
	if c == nil {
		return nil
	}
	only := func(c *Certificate) *Certificate {
		if c == nil {
			return nil
		}
		return &Certificate{Info: c.Info}
	}
	return &Certificates{only(c.Primary), only(c.Secondary)}
}

// twin returns what a device's twin begins with.
func (e *Enrollment) twin() Twin { return e.InitialTwin.twin() }

func (t *InitialTwin) twin() Twin {
	if t == nil {
		return Twin{}
	}
	out := Twin{Tags: t.Tags}
	if t.Properties != nil {
		out.Desired = t.Properties.Desired
	}
	return out
}

// timeText writes a time as Azure does, in UTC.
func timeText(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format("2006-01-02T15:04:05.0000000Z")
}
