package registryfile

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/store/hubstore"
)

// MaxLine is the longest line that is read: a twin of every size allowed with its metadata fits.
const MaxLine = 1 << 20

// Line is one identity.
type Line struct {
	ID             string          `json:"id"`
	ModuleID       string          `json:"moduleId,omitempty"`
	ETag           string          `json:"eTag,omitempty"`
	ImportMode     string          `json:"importMode,omitempty"`
	Status         string          `json:"status,omitempty"`
	StatusReason   string          `json:"statusReason,omitempty"`
	Authentication *Authentication `json:"authentication,omitempty"`
	TwinETag       string          `json:"twinETag,omitempty"`
	Tags           json.RawMessage `json:"tags,omitempty"`
	Properties     *Properties     `json:"properties,omitempty"`
	Capabilities   *Capabilities   `json:"capabilities,omitempty"`
	DeviceScope    string          `json:"deviceScope,omitempty"`
	ParentScopes   []string        `json:"parentScopes,omitempty"`
	ManagedBy      string          `json:"managedBy,omitempty"`
}

// Authentication is how an identity proves who it is.
type Authentication struct {
	Type           string       `json:"type,omitempty"`
	SymmetricKey   *Keys        `json:"symmetricKey,omitempty"`
	X509Thumbprint *Thumbprints `json:"x509Thumbprint,omitempty"`
}

// Keys are base64; null and empty are the same.
type Keys struct {
	Primary   *string `json:"primaryKey"`
	Secondary *string `json:"secondaryKey"`
}

// Thumbprints are hex; null and empty are the same.
type Thumbprints struct {
	Primary   *string `json:"primaryThumbprint"`
	Secondary *string `json:"secondaryThumbprint"`
}

// Properties are the parts of a twin beside its tags.
type Properties struct {
	Desired  json.RawMessage `json:"desired,omitempty"`
	Reported json.RawMessage `json:"reported,omitempty"`
}

// Capabilities are what a device may be.
type Capabilities struct {
	IoTEdge bool `json:"iotEdge"`
}

// Name returns which identity the line is of.
func (l Line) Name() hub.Name { return hub.Name{Device: l.ID, Module: l.ModuleID} }

// Change returns what the line asks for. An import mode that is empty stands for fallback. h reads the twin.
func (l Line) Change(h *hub.Hub, fallback string) (hub.Change, error) {
	op := "registryfile.Change"
	c := hub.Change{Device: l.Device()}
	mode := l.ImportMode
	if mode == "" {
		mode = fallback
	}
	etag := strings.Trim(l.ETag, `"`)
	switch strings.ToLower(mode) {
	case "create":
	case "createorupdate":
		c.Mode = hub.CreateOrUpdate
	case "updatetwin":
		c.Mode = hub.UpdateTwin
	case "update":
		c.Mode, c.IfMatch = hub.Update, hub.AnyETag
	case "updateifmatchetag":
		c.Mode, c.IfMatch = hub.Update, etag
	case "delete":
		c.Mode, c.IfMatch = hub.Delete, hub.AnyETag
	case "deleteifmatchetag":
		c.Mode, c.IfMatch = hub.Delete, etag
	default:
		return c, fault.Newf(op, fault.Invalid, "importMode of %s is %.40q", l.Name().Words(), mode).
			Advise("use create, createOrUpdate, update, updateIfMatchETag, updateTwin, delete or deleteIfMatchETag")
	}
	twin, err := l.twin()
	if err != nil || twin == nil || c.Mode == hub.Delete {
		return c, err
	}
	c.Twin, err = h.FirstTwin(twin)
	return c, err
}

// Device returns the identity as the line describes it.
func (l Line) Device() hubstore.Device {
	d := hubstore.Device{
		ID: l.ID, Module: l.ModuleID, Status: hubstore.Status(strings.ToLower(l.Status)), StatusReason: l.StatusReason, Scope: l.DeviceScope, ManagedBy: l.ManagedBy,
	}
	if len(l.ParentScopes) > 0 {
		b, _ := json.Marshal(l.ParentScopes) // texts always marshal
		d.ParentScopes = string(b)
	}
	d.Edge = l.Capabilities != nil && l.Capabilities.IoTEdge
	if a := l.Authentication; a != nil {
		d.AuthType = a.Type
		if a.SymmetricKey != nil {
			d.PrimaryKey, d.SecondaryKey = text(a.SymmetricKey.Primary), text(a.SymmetricKey.Secondary)
		}
		if a.X509Thumbprint != nil {
			d.PrimaryThumbprint, d.SecondaryThumbprint = text(a.X509Thumbprint.Primary), text(a.X509Thumbprint.Secondary)
		}
	}
	return d
}

// twin returns the twin of the line, nil when it has none.
func (l Line) twin() ([]byte, error) {
	if len(l.Tags) == 0 && l.Properties == nil {
		return nil, nil
	}
	b, err := json.Marshal(struct {
		Tags       json.RawMessage `json:"tags,omitempty"`
		Properties *Properties     `json:"properties,omitempty"`
	}{l.Tags, l.Properties})
	return b, fault.Wrap("registryfile.twin", fault.Invalid, err, "the twin of "+l.Name().Words()+" is not JSON")
}

func text(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

func orNull(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}

// Of returns the line of an identity. Without keys, whoever imports it makes new ones.
func Of(t hub.Twin, withKeys bool) (Line, error) {
	d := t.Device
	l := Line{
		ID: d.ID, ModuleID: d.Module, ETag: d.ETag, ImportMode: "create", Status: string(d.Status), StatusReason: d.StatusReason, TwinETag: t.ETag(),
		DeviceScope: d.Scope, ManagedBy: d.ManagedBy, Authentication: &Authentication{Type: d.AuthType},
	}
	if withKeys {
		l.Authentication.SymmetricKey = &Keys{orNull(d.PrimaryKey), orNull(d.SecondaryKey)}
		l.Authentication.X509Thumbprint = &Thumbprints{orNull(d.PrimaryThumbprint), orNull(d.SecondaryThumbprint)}
	}
	if d.ParentScopes != "" {
		if err := json.Unmarshal([]byte(d.ParentScopes), &l.ParentScopes); err != nil {
			return l, fault.Wrap("registryfile.Of", fault.Internal, err, "")
		}
	}
	if d.Module == "" {
		l.Capabilities = &Capabilities{d.Edge}
	}
	whole, err := t.Document.AppendJSON([]byte("{"))
	if err == nil {
		err = json.Unmarshal(append(whole, '}'), &l)
	}
	return l, fault.Wrap("registryfile.Of", fault.Internal, err, "")
}

// Write writes a line, with its end.
func (l Line) Write(w io.Writer) error {
	b, err := json.Marshal(l)
	if err == nil {
		_, err = w.Write(append(b, '\n'))
	}
	return fault.Wrap("registryfile.Write", fault.Unavailable, err, "the line could not be written")
}

// Read calls each for every line, with its number from 1; blank lines are passed over. Invalid with the number of a line that cannot be
// read, and what each returns.
func Read(r io.Reader, each func(number int, l Line) error) error {
	op := "registryfile.Read"
	s := bufio.NewScanner(r)
	s.Buffer(make([]byte, 64<<10), MaxLine)
	n := 0
	for s.Scan() {
		n++
		line := bytes.TrimSpace(s.Bytes())
		if n == 1 {
			line = bytes.TrimPrefix(line, []byte("\xef\xbb\xbf"))
		}
		if len(line) == 0 {
			continue
		}
		var l Line
		if err := json.Unmarshal(line, &l); err != nil {
			return fault.Newf(op, fault.Invalid, "line %d is not the JSON of an identity", n).Advise("it begins with {\"id\": ..; each identity has one line").Because(err)
		}
		if err := each(n, l); err != nil {
			return err
		}
	}
	if errors.Is(s.Err(), bufio.ErrTooLong) {
		return fault.Newf(op, fault.TooLarge, "line %d is longer than %d bytes", n+1, MaxLine)
	}
	return fault.Wrap(op, fault.Unavailable, s.Err(), "the file cannot be read")
}
