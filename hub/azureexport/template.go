package azureexport

import (
	"encoding/json"
	"errors"
	"regexp"
	"strings"
)

const devicesProvider = "microsoft.devices/"

func isResource(kind string) bool { return strings.HasPrefix(strings.ToLower(kind), devicesProvider) }

// resource is one of a template or of a list of resources.
type resource struct {
	Type      string            `json:"type"`
	Name      string            `json:"name"`
	Resources []json.RawMessage `json:"resources"` // below it
}

// readTemplate gives the resources of a template (Azure Resource Manager: template structure). Of its expressions those are understood that
// exports write into names: parameters with a default, and concat of them.
func readTemplate(at At, text []byte, each func(At, Thing) error) error {
	var t struct {
		Parameters map[string]struct {
			Default json.RawMessage `json:"defaultValue"`
		}
		Resources []json.RawMessage
	}
	if err := json.Unmarshal(text, &t); err != nil {
		return each(at, wrong("azureexport.template", err, "the template"))
	}
	parameters := map[string]string{}
	for name, p := range t.Parameters {
		var s string
		if json.Unmarshal(p.Default, &s) == nil {
			parameters[strings.ToLower(name)] = s
		}
	}
	for _, r := range t.Resources {
		if err := readResourceTree(at, "", r, parameters, each); err != nil {
			return err
		}
	}
	return nil
}

func readResourceTree(at At, above string, text []byte, parameters map[string]string, each func(At, Thing) error) error {
	var r resource
	if err := json.Unmarshal(text, &r); err != nil {
		return each(at, wrong("azureexport.template", err, "a resource"))
	}
	kind := r.Type
	if above != "" && !isResource(kind) {
		kind = above + "/" + kind
	}
	if err := readResource(at, kind, r.Name, text, parameters, each); err != nil {
		return err
	}
	for _, child := range r.Resources {
		if err := readResourceTree(at, kind, child, parameters, each); err != nil {
			return err
		}
	}
	return nil
}

var (
	inName = regexp.MustCompile(`parameters\('([^']*)'\)|'([^']*)'`)
	inPath = regexp.MustCompile(`[^/]*$`)
)

// plainName takes the expression from a name.
func plainName(name string, parameters map[string]string) string {
	if !strings.HasPrefix(name, "[") {
		return name
	}
	var b strings.Builder
	for _, m := range inName.FindAllStringSubmatch(name, -1) {
		if m[1] != "" {
			b.WriteString(parameters[strings.ToLower(m[1])])
		} else {
			b.WriteString(m[2])
		}
	}
	return b.String()
}

func lastPart(name string) string { return inPath.FindString(name) }

func readResource(at At, kind, name string, text []byte, parameters map[string]string, each func(At, Thing) error) error {
	name = plainName(name, parameters)
	if name != "" {
		at.Path = strings.TrimPrefix(at.Path+"."+name, ".")
	}
	// What is an expression where a number belongs is told, and the rest is read.
	var mismatch error
	read := func(into any) bool {
		err := json.Unmarshal(text, into)
		if _, isType := errors.AsType[*json.UnmarshalTypeError](err); isType {
			mismatch = err
			return true
		}
		mismatch = err
		return err == nil
	}
	var t Thing
	switch strings.TrimPrefix(strings.ToLower(kind), devicesProvider) {
	case "iothubs":
		h := &Hub{}
		if read(h) {
			h.Name, t = name, h
		}
	case "provisioningservices":
		s := &Service{}
		if read(s) {
			s.Name, t = name, s
		}
	case "iothubs/certificates", "provisioningservices/certificates":
		var c struct {
			Properties struct {
				Certificate string
				Subject     string
				Verified    bool `json:"isVerified"`
			}
		}
		if read(&c) {
			t = &Authority{
				Name: lastPart(name), Provisioning: strings.HasPrefix(strings.ToLower(kind), devicesProvider+"provisioning"),
				Verified: c.Properties.Verified, Subject: c.Properties.Subject, Content: c.Properties.Certificate,
			}
		}
	case "iothubs/eventhubendpoints/consumergroups":
		endpoint := "events"
		if parts := strings.Split(name, "/"); len(parts) == 3 {
			endpoint = parts[1]
		}
		t = &ConsumerGroup{lastPart(name), endpoint}
	default:
		t = &Other{"resources of type " + kind}
	}
	if t != nil {
		if err := each(at, t); err != nil {
			return err
		}
	}
	if mismatch != nil {
		return each(at, wrong("azureexport.template", mismatch, "a part of "+kind))
	}
	return nil
}
