package provisioningclient

import (
	"context"
	"encoding/json"
	"iter"
	"net/http"
	"net/url"

	"github.com/isthmus-io/isthmus/hub/caller"
)

// Enrollment is an enrollment of one device or, with GroupID, of a group, as the service's API has it.
type Enrollment struct {
	RegistrationID string           `json:"registrationId,omitempty"`
	GroupID        string           `json:"enrollmentGroupId,omitempty"`
	DeviceID       string           `json:"deviceId,omitempty"` // at the hub; the registration id when empty
	Attestation    Attestation      `json:"attestation"`
	Capabilities   *Capabilities    `json:"capabilities,omitempty"`
	HubHostName    string           `json:"iotHubHostName,omitempty"`
	Hubs           []string         `json:"iotHubs,omitempty"`
	InitialTwin    *InitialTwin     `json:"initialTwin,omitempty"`
	ETag           string           `json:"etag,omitempty"`
	Status         string           `json:"provisioningStatus,omitempty"` // enabled or disabled
	Reprovision    *Reprovision     `json:"reprovisionPolicy,omitempty"`
	Allocation     string           `json:"allocationPolicy,omitempty"` // hashed, geoLatency, static or custom
	Custom         *Webhook         `json:"customAllocationDefinition,omitempty"`
	Information    json.RawMessage  `json:"optionalDeviceInformation,omitempty"`
	Created        string           `json:"createdDateTimeUtc,omitempty"`
	Updated        string           `json:"lastUpdatedDateTimeUtc,omitempty"`
	State          *json.RawMessage `json:"registrationState,omitempty"` // only read
}

// Name is its registration id or the id of the group.
func (e Enrollment) Name() string {
	if e.GroupID != "" {
		return e.GroupID
	}
	return e.RegistrationID
}

// Attestation is how devices prove themselves. Keys and certificates are shown by Mechanism only; what is left out when an enrollment is
// written back stays as it was.
type Attestation struct {
	Type         string         `json:"type"` // symmetricKey, x509 or tpm
	TPM          *TPM           `json:"tpm,omitempty"`
	X509         *X509          `json:"x509,omitempty"`
	SymmetricKey *SymmetricKeys `json:"symmetricKey,omitempty"`
}

// TPM is the public keys of a device's TPM, base64.
type TPM struct {
	EndorsementKey string `json:"endorsementKey"`
	StorageRootKey string `json:"storageRootKey,omitempty"`
}

// SymmetricKeys are base64; the service makes those that are missing.
type SymmetricKeys struct {
	Primary   string `json:"primaryKey,omitempty"`
	Secondary string `json:"secondaryKey,omitempty"`
}

// X509 names certificates: a device's own, those of authorities, or names of certificates of the service.
type X509 struct {
	Client       *Certificates `json:"clientCertificates,omitempty"`
	Signing      *Certificates `json:"signingCertificates,omitempty"`
	CAReferences *References   `json:"caReferences,omitempty"`
}

// Certificates are two, so that one can be replaced while the other serves.
type Certificates struct {
	Primary   *Certificate `json:"primary,omitempty"`
	Secondary *Certificate `json:"secondary,omitempty"`
}

// Certificate is PEM when it is written; Info is only read, and is written back for a certificate that stays.
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

// References are names of certificates of the service.
type References struct {
	Primary   string `json:"primary,omitempty"`
	Secondary string `json:"secondary,omitempty"`
}

// Capabilities of the device at its hub.
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

// Reprovision says what happens when a device registers again.
type Reprovision struct {
	UpdateHub   bool `json:"updateHubAssignment"`
	MigrateData bool `json:"migrateDeviceData"`
}

// Webhook chooses a hub.
type Webhook struct {
	URL        string `json:"webhookUrl"`
	APIVersion string `json:"apiVersion"`
}

func enrollments(group bool) string {
	if group {
		return "/enrollmentGroups"
	}
	return "/enrollments"
}

func enrollment(id string, group bool) string { return enrollments(group) + "/" + url.PathEscape(id) }

// Enrollments ranges over enrollments of devices, or over groups, by id; an error ends it.
func (c *Client) Enrollments(ctx context.Context, group bool) iter.Seq2[Enrollment, error] {
	return pages[Enrollment](ctx, c, enrollments(group)+"/query")
}

// pages ranges over what a query answers in pages.
func pages[T any](ctx context.Context, c *Client, path string) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var none T
		for next := ""; ; {
			h := http.Header{}
			if next != "" {
				h.Set("x-ms-continuation", next)
			}
			var list []T
			head, err := c.caller.Call(ctx, caller.Request{Method: http.MethodPost, Path: path, Header: h, Body: map[string]string{"query": "*"}}, &list)
			if err != nil {
				yield(none, err)
				return
			}
			for _, item := range list {
				if !yield(item, nil) {
					return
				}
			}
			if next = head.Get("x-ms-continuation"); next == "" {
				return
			}
		}
	}
}

// Enrollment reads one, without keys. NotFound when there is none.
func (c *Client) Enrollment(ctx context.Context, id string, group bool) (Enrollment, error) {
	var out Enrollment
	err := c.call(ctx, http.MethodGet, enrollment(id, group), "", nil, &out)
	return out, err
}

// PutEnrollment makes one when ifMatch is empty, and replaces it when ifMatch is its etag or Any. Conflict when it exists.
func (c *Client) PutEnrollment(ctx context.Context, e Enrollment, ifMatch string) (Enrollment, error) {
	e.State = nil
	var out Enrollment
	err := c.call(ctx, http.MethodPut, enrollment(e.Name(), e.GroupID != ""), ifMatch, e, &out)
	return out, err
}

// DeleteEnrollment takes one away; its devices stay at their hubs. ifMatch is an etag or Any.
func (c *Client) DeleteEnrollment(ctx context.Context, id string, group bool, ifMatch string) error {
	return c.call(ctx, http.MethodDelete, enrollment(id, group), ifMatch, nil, nil)
}

// Mechanism reads an attestation with its keys.
func (c *Client) Mechanism(ctx context.Context, id string, group bool) (Attestation, error) {
	var out Attestation
	err := c.call(ctx, http.MethodPost, enrollment(id, group)+"/attestationmechanism", "", nil, &out)
	return out, err
}

// MaxBulk is how many enrollments one call of Bulk may name.
const MaxBulk = 100

// Refusal is an enrollment of a bulk operation that failed.
type Refusal struct {
	RegistrationID string `json:"registrationId"`
	Code           int    `json:"errorCode"`
	Status         string `json:"errorStatus"`
}

// Bulk makes, changes or deletes up to MaxBulk enrollments of devices, each by itself. mode is create, update, updateIfMatchETag or delete.
func (c *Client) Bulk(ctx context.Context, mode string, list []json.RawMessage) ([]Refusal, error) {
	var out struct {
		Errors []Refusal `json:"errors"`
	}
	err := c.call(ctx, http.MethodPost, "/enrollments", "", map[string]any{"mode": mode, "enrollments": list}, &out)
	return out.Errors, err
}

// Shown is a certificate of an attestation, with what it is there for.
type Shown struct {
	Words string // "Certificate", "Next certificate", "Authority", "Next authority"
	Info  CertificateInfo
}

// Certificates lists those of which something is shown.
func (a Attestation) Certificates() []Shown {
	var out []Shown
	add := func(words, next string, c *Certificates) {
		if c == nil {
			return
		}
		for i, one := range []*Certificate{c.Primary, c.Secondary} {
			if one != nil && one.Info != nil {
				out = append(out, Shown{[]string{words, next}[i], *one.Info})
			}
		}
	}
	if a.X509 != nil {
		add("Certificate", "Next certificate", a.X509.Client)
		add("Authority", "Next authority", a.X509.Signing)
	}
	return out
}
