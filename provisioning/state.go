package provisioning

import (
	"encoding/json"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/store/provisioningstore"
)

// What became of a registration (DPS: DeviceRegistrationResult, status and substatus).
const (
	Unassigned = "unassigned"
	Assigning  = "assigning"
	Assigned   = "assigned"
	Failed     = "failed"

	InitialAssignment  = "initialAssignment"
	DeviceDataMigrated = "deviceDataMigrated"
	DeviceDataReset    = "deviceDataReset"
)

// State is a registration as a document: what devices and operators read.
type State struct {
	RegistrationID string             `json:"registrationId"`
	Created        string             `json:"createdDateTimeUtc,omitempty"`
	AssignedHub    string             `json:"assignedHub,omitempty"`
	DeviceID       string             `json:"deviceId,omitempty"`
	Status         string             `json:"status"`
	Substatus      string             `json:"substatus,omitempty"`
	Updated        string             `json:"lastUpdatedDateTimeUtc,omitempty"`
	ErrorCode      int                `json:"errorCode,omitempty"`
	ErrorMessage   string             `json:"errorMessage,omitempty"`
	ETag           string             `json:"etag,omitempty"`
	Payload        json.RawMessage    `json:"payload,omitempty"` // from the webhook
	X509           *X509State         `json:"x509,omitempty"`
	SymmetricKey   *SymmetricKeyState `json:"symmetricKey,omitempty"`
	TPM            *TPMState          `json:"tpm,omitempty"` // for the device only
}

// X509State tells by which certificates a device proved itself.
type X509State struct {
	GroupID   string           `json:"enrollmentGroupId,omitempty"`
	Leaf      *CertificateInfo `json:"certificateInfo,omitempty"`
	Authority *CertificateInfo `json:"signingCertificateInfo,omitempty"`
}

// SymmetricKeyState tells by whose key a device proved itself.
type SymmetricKeyState struct {
	GroupID string `json:"enrollmentGroupId,omitempty"`
}

// TPMState holds the key for the hub in an activation blob, base64.
type TPMState struct {
	AuthenticationKey string `json:"authenticationKey"`
}

// Operation is a registration operation as a document.
type Operation struct {
	ID     string `json:"operationId"`
	Status string `json:"status"`
	State  *State `json:"registrationState,omitempty"`
}

// Done tells whether there is nothing more to wait for.
func (o Operation) Done() bool { return o.Status != Assigning }

// record is what is kept of a registration.
type record struct {
	row provisioningstore.Registration

	Spelling  string           `json:"spelling"` // of the registration id, as keys are derived from it
	Attest    string           `json:"attestation"`
	Leaf      *CertificateInfo `json:"leaf,omitempty"`
	Authority *CertificateInfo `json:"authority,omitempty"`
	SRK       string           `json:"storageRootKey,omitempty"`
	TPMKey    string           `json:"tpmKey,omitempty"` // the device's at its hub, base64; a secret
	Began     time.Time        `json:"began"`            // the operation
	Asked     json.RawMessage  `json:"asked,omitempty"`  // payload of the device
	Trouble   string           `json:"trouble,omitempty"`

	// Where the device is, whatever the newest operation comes to.
	Hub       string          `json:"hub,omitempty"`
	Device    string          `json:"device,omitempty"`
	Substatus string          `json:"substatus,omitempty"`
	Payload   json.RawMessage `json:"payload,omitempty"`
	Former    *place          `json:"former,omitempty"` // which has not been told yet that the device left

	ErrorCode    Code   `json:"errorCode,omitempty"`
	ErrorMessage string `json:"errorMessage,omitempty"`
}

// place is a device at a hub.
type place struct {
	Hub    string `json:"hub"`
	Device string `json:"device"`
}

func recordOf(row provisioningstore.Registration) (record, error) {
	var r record
	if err := json.Unmarshal(row.Document, &r); err != nil {
		return r, fault.Wrap("provisioning.record", fault.Internal, err, "")
	}
	r.row = row
	return r, nil
}

// put writes the record, with a new etag.
func (r *record) put(tx *provisioningstore.Tx, now time.Time) error {
	b, err := json.Marshal(r)
	if err != nil {
		return fault.Wrap("provisioning.record", fault.Internal, err, "")
	}
	r.row.Document, r.row.ETag, r.row.Updated = b, newETag(), now
	if r.row.Created.IsZero() {
		r.row.Created = now
	}
	return tx.PutRegistration(r.row)
}

// state returns what may be shown of a record.
func (r *record) state() *State {
	s := &State{
		RegistrationID: r.row.ID, Created: timeText(r.row.Created), Updated: timeText(r.row.Updated), ETag: r.row.ETag, Status: r.row.Status,
	}
	if r.row.Status == Assigning {
		return s
	}
	switch r.Attest {
	case AttestX509:
		s.X509 = &X509State{r.row.Group, r.Leaf, r.Authority}
	case AttestSymmetricKey:
		s.SymmetricKey = &SymmetricKeyState{r.row.Group}
	}
	if r.row.Status == Failed {
		s.ErrorCode, s.ErrorMessage = int(r.ErrorCode), r.ErrorMessage
		return s
	}
	s.AssignedHub, s.DeviceID, s.Substatus, s.Payload = r.Hub, r.Device, r.Substatus, r.Payload
	return s
}

func (r *record) operation() Operation {
	o := Operation{ID: r.row.Operation, Status: r.row.Status}
	if o.Done() {
		o.State = r.state()
	}
	return o
}
