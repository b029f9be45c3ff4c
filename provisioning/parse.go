package provisioning

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"net/url"
	"regexp"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/provisioning/tpm"
)

const (
	// MaxEnrollment is the longest enrollment, in bytes of JSON.
	MaxEnrollment = 64 << 10
	// MaxPayload is the longest payload of a registration, from the device or from a webhook, in bytes of JSON.
	MaxPayload = 16 << 10

	maxHubs  = 100 // that an enrollment names
	maxDepth = 32  // of the JSON in a twin or a payload
)

var groupID = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._:-]{0,127}$`)

// ParseEnrollment reads an enrollment, or an enrollment group, as an operator writes it, and checks everything that needs no look
// elsewhere. Unknown fields are passed over. Faults are Invalid and TooLarge.
func ParseEnrollment(text []byte, group bool) (Enrollment, error) {
	op := "provisioning.ParseEnrollment"
	if len(text) > MaxEnrollment {
		return Enrollment{}, fault.Newf(op, fault.TooLarge, "an enrollment has at most %d bytes, this one has %d", MaxEnrollment, len(text))
	}
	var e Enrollment
	if err := json.Unmarshal(text, &e); err != nil {
		return e, fault.Newf(op, fault.Invalid, "the enrollment is not the JSON that belongs here: %v", err)
	}
	e.State, e.Created, e.Updated = nil, "", ""
	if err := e.checkID(group); err != nil {
		return e, err
	}
	if err := e.checkAttestation(group); err != nil {
		return e, err
	}
	if err := e.checkAllocation(); err != nil {
		return e, err
	}
	switch strings.ToLower(e.Status) {
	case "", Enabled:
		e.Status = Enabled
	case Disabled:
		e.Status = Disabled
	default:
		return e, fault.Newf(op, fault.Invalid, "provisioningStatus %.40q is neither enabled nor disabled", e.Status)
	}
	if t := e.InitialTwin; t != nil {
		parts := []*json.RawMessage{&t.Tags}
		if t.Properties != nil {
			parts = append(parts, &t.Properties.Desired)
		}
		for _, p := range parts {
			if err := checkTwin(p); err != nil {
				return e, err
			}
		}
	}
	if e.Reprovision == nil { // Azure's default
		e.Reprovision = &ReprovisionPolicy{UpdateHubAssignment: true, MigrateDeviceData: true}
	}
	return e, nil
}

func (e *Enrollment) checkID(group bool) error {
	op := "provisioning.ParseEnrollment"
	if group {
		e.RegistrationID, e.DeviceID = "", ""
		if !groupID.MatchString(e.GroupID) {
			return fault.Newf(op, fault.Invalid, "enrollmentGroupId %.140q cannot be used", e.GroupID).Advise("use 1 to 128 letters, digits and - . _ :, a letter or digit first")
		}
		e.GroupID = strings.ToLower(e.GroupID)
		return nil
	}
	e.GroupID = ""
	id, err := RegistrationID(e.RegistrationID)
	if err != nil {
		return err
	}
	e.RegistrationID = id
	for i := range len(e.DeviceID) {
		c := e.DeviceID[i]
		if len(e.DeviceID) > MaxID || !alphanumeric(c) && strings.IndexByte("-.+%_#*?!(),:=@$';", c) < 0 {
			return fault.Newf(op, fault.Invalid, "deviceId %.140q is no id of a device", e.DeviceID)
		}
	}
	return nil
}

func (e *Enrollment) checkAttestation(group bool) error {
	op := "provisioning.ParseEnrollment"
	a := &e.Attestation
	kinds := map[string]string{"": "", "none": AttestNone, "tpm": AttestTPM, "x509": AttestX509, "symmetrickey": AttestSymmetricKey}
	kind, known := kinds[strings.ToLower(a.Type)]
	if !known {
		return fault.Newf(op, fault.Invalid, "attestation.type %.40q is unknown", a.Type).Advise("use symmetricKey, x509 or tpm")
	}
	switch a.Type = kind; kind {
	case "", AttestNone:
		return fault.New(op, fault.Invalid, "attestation.type is missing").Advise("use symmetricKey, x509 or tpm")
	case AttestSymmetricKey:
		a.TPM, a.X509 = nil, nil
		return a.SymmetricKey.check()
	case AttestTPM:
		a.SymmetricKey, a.X509 = nil, nil
		if group {
			return fault.New(op, fault.Invalid, "a group cannot attest by TPM").Advise("make an enrollment for each device")
		}
		return a.TPM.check()
	default:
		a.SymmetricKey, a.TPM = nil, nil
		return a.X509.check(group)
	}
}

func (k *SymmetricKeys) check() error {
	if k == nil || *k == (SymmetricKeys{}) {
		return nil // they are made, or stay as they are
	}
	for _, text := range []string{k.Primary, k.Secondary} {
		if b, err := base64.StdEncoding.DecodeString(text); err != nil || len(b) < 16 || len(b) > 64 {
			return fault.New("provisioning.ParseEnrollment", fault.Invalid, "a key in attestation.symmetricKey is not base64 of 16 to 64 bytes").
				Advise("give both keys, or none and the service makes them")
		}
	}
	return nil
}

func (k *TPMKeys) check() error {
	if k == nil || k.EndorsementKey == "" {
		return fault.New("provisioning.ParseEnrollment", fault.Invalid, "attestation.tpm.endorsementKey is missing")
	}
	if _, err := parseTPMKey(k.EndorsementKey); err != nil {
		return err
	}
	if k.StorageRootKey == "" {
		return nil
	}
	_, err := parseTPMKey(k.StorageRootKey)
	return err
}

func parseTPMKey(text string) (*tpm.Public, error) {
	b, err := base64.StdEncoding.DecodeString(text)
	if err != nil {
		return nil, fault.New("provisioning.TPM", fault.Invalid, "a TPM's key is not base64")
	}
	return tpm.ParsePublic(b)
}

func (e *Enrollment) checkAllocation() error {
	op := "provisioning.ParseEnrollment"
	policies := map[string]string{
		"": "", "hashed": AllocateHashed, "geolatency": AllocateGeoLatency, "static": AllocateStatic, "custom": AllocateCustom,
	}
	policy, known := policies[strings.ToLower(e.Allocation)]
	if !known {
		return fault.Newf(op, fault.Invalid, "allocationPolicy %.40q is unknown", e.Allocation).Advise("use hashed, geoLatency, static or custom")
	}
	e.HubHostName = strings.ToLower(e.HubHostName)
	if policy == "" {
		policy = AllocateHashed
		if e.HubHostName != "" { // as enrollments from before there were policies
			policy = AllocateStatic
		}
	}
	e.Allocation = policy
	if len(e.Hubs) > maxHubs {
		return fault.Newf(op, fault.Invalid, "iotHubs names %d hubs, %d are allowed", len(e.Hubs), maxHubs)
	}
	for i, h := range e.Hubs {
		e.Hubs[i] = strings.ToLower(h)
	}
	if policy == AllocateStatic && e.HubHostName == "" && len(e.Hubs) != 1 {
		return fault.New(op, fault.Invalid, "allocationPolicy is static and no hub is named").Advise("set iotHubHostName, or one hub in iotHubs")
	}
	if policy != AllocateCustom {
		e.Custom = nil
		return nil
	}
	if e.Custom == nil {
		return fault.New(op, fault.Invalid, "allocationPolicy is custom and customAllocationDefinition is missing")
	}
	u, err := url.Parse(e.Custom.WebhookURL)
	if err != nil || len(e.Custom.WebhookURL) > 2048 || u.Host == "" || u.User != nil || (u.Scheme != "https" && u.Scheme != "http") {
		return fault.New(op, fault.Invalid, "customAllocationDefinition.webhookUrl is no URL of a webhook").Advise("it begins with https:// and a host")
	}
	return nil
}

// checkTwin checks a part of an initial twin, and takes away what a hub would add itself.
func checkTwin(part *json.RawMessage) error {
	op := "provisioning.ParseEnrollment"
	if len(*part) == 0 || bytes.Equal(*part, []byte("null")) {
		*part = nil
		return nil
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(*part, &object); err != nil {
		return fault.New(op, fault.Invalid, "a part of initialTwin is no JSON object")
	}
	if err := shallow(*part); err != nil {
		return err
	}
	for _, key := range []string{"$version", "$metadata"} {
		delete(object, key)
	}
	b, err := json.Marshal(object)
	*part = b
	return fault.Wrap(op, fault.Internal, err, "")
}

// shallow refuses JSON that nests so deep that those who read it later might not.
func shallow(text json.RawMessage) error {
	depth, inString, escaped := 0, false, false
	for _, c := range text {
		switch {
		case escaped:
			escaped = false
		case inString:
			escaped, inString = c == '\\', c != '"'
		case c == '"':
			inString = true
		case c == '{' || c == '[':
			if depth++; depth > maxDepth {
				return fault.Newf("provisioning", fault.Invalid, "JSON nests deeper than %d levels", maxDepth)
			}
		case c == '}' || c == ']':
			depth--
		}
	}
	return nil
}
