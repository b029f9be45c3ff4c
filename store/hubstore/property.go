package hubstore

import (
	"slices"
	"strings"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/query"
)

// always is a column that is never undefined, sometimes one that is undefined while it is empty.
func always(k kind, of string) operand { return column(k, raw(of), sqlTrue) }

func sometimes(k kind, of string) operand { return column(k, raw(of), raw(of+" <> ''")) }

var object = operand{kind: anObject, defined: sqlTrue}

// within is the property of a value that has none.
func within(o operand, steps []query.Step) operand {
	if len(steps) > 0 {
		return undefined
	}
	return o
}

// steps is the path below its first keys.
func steps(p query.Path, below int) []query.Step {
	var out []query.Step
	for _, k := range p.Keys[min(below, len(p.Keys)):] {
		out = append(out, query.Step{Key: k})
	}
	return append(out, p.Rest...)
}

// ofTwin tells whether a property is in the table t, and not in i.
func ofTwin(p query.Path) bool {
	return slices.Contains([]string{"modelid", "version", "tags", "properties"}, strings.ToLower(p.Keys[0]))
}

// twinProperty finds what a service reads in a twin, in the tables i (identities) and t (twins). What no twin has is undefined.
func (d dialect) twinProperty(p query.Path, modules bool) (operand, error) {
	below := steps(p, 1)
	name := strings.ToLower(p.Keys[0])
	if modules && (name == "capabilities" || name == "devicescope" || name == "parentscopes") || !modules && name == "moduleid" {
		return undefined, nil
	}
	switch name {
	case "deviceid":
		return within(always(aString, "i.device"), below), nil
	case "moduleid":
		return within(always(aString, "i.module"), below), nil
	case "deviceetag":
		return within(always(aString, "i.etag"), below), nil
	case "etag":
		return operand{}, unsearchable(p).Advise("deviceEtag and version can be used")
	case "status":
		return within(always(aString, "i.status"), below), nil
	case "statusreason":
		return within(sometimes(aString, "i.status_reason"), below), nil
	case "statusupdatetime":
		return within(d.time("i.status_changed"), below), nil
	case "connectionstate":
		return within(always(aString, "CASE WHEN i.connected = 1 THEN 'Connected' ELSE 'Disconnected' END"), below), nil
	case "lastactivitytime":
		return within(d.time("i.last_activity"), below), nil
	case "cloudtodevicemessagecount":
		return within(always(aNumber, "(SELECT COUNT(*) FROM commands m WHERE m.hub = i.hub AND m.device = i.device AND m.module = i.module)"), below), nil
	case "authenticationtype":
		return within(always(aString, "i.auth_type"), below), nil
	case "x509thumbprint":
		return thumbprint(p), nil
	case "modelid":
		return within(always(aString, "t.model"), below), nil
	case "version":
		return within(always(aNumber, "t.version"), below), nil
	case "tags":
		return d.document("t.tags", below), nil
	case "properties":
		return d.part(p)
	case "capabilities":
		if len(below) == 1 && below[0].Key == "iotEdge" {
			return always(aBoolean, "(i.edge = 1)"), nil
		}
		return within(object, below), nil
	case "devicescope":
		return within(sometimes(aString, "i.scope"), below), nil
	case "parentscopes":
		return d.document(d.optional("i.parent_scopes"), below), nil
	case "configurations":
		return configuration(p), nil
	}
	return undefined, nil
}

func unsearchable(p query.Path) *fault.Error {
	return fault.Newf("hubstore.Query", fault.Invalid, "%s can be selected and cannot be searched or grouped by", p)
}

// optional is a column of JSON that is empty for none.
func (d dialect) optional(of string) string { return d.typed("NULLIF("+of+", '')", "json") }

// part is a property of the desired or the reported ones.
func (d dialect) part(p query.Path) (operand, error) {
	if len(p.Keys) == 1 {
		return within(object, p.Rest), nil
	}
	part := p.Keys[1]
	if part != "desired" && part != "reported" {
		return undefined, nil
	}
	below := steps(p, 2)
	if len(below) == 0 {
		return object, nil
	}
	switch below[0].Key {
	case "$version":
		return within(always(aNumber, "t."+part+"_version"), below[1:]), nil
	case "$metadata":
		return operand{}, unsearchable(p)
	}
	return d.document("t."+part, below), nil
}

func thumbprint(p query.Path) operand {
	if len(p.Keys) == 1 {
		return within(object, p.Rest)
	}
	of := map[string]string{"primaryThumbprint": "i.primary_thumbprint", "secondaryThumbprint": "i.secondary_thumbprint"}[p.Keys[1]]
	if of == "" || len(p.Keys) > 2 || len(p.Rest) > 0 {
		return undefined
	}
	return operand{ // null while there is none
		kind: anyKind, defined: sqlTrue,
		is: func(k kind) fragment {
			switch k {
			case aString:
				return raw("(" + of + " <> '')")
			case aNull:
				return raw("(" + of + " = '')")
			}
			return sqlFalse
		},
		bareText: raw(of), bareNumber: sqlNull, bareTruth: sqlNull,
	}.guarded()
}

// configuration is configurations.[[id]].status: whether a configuration is meant for the identity, and applied.
func configuration(p query.Path) operand {
	if len(p.Keys) != 3 || p.Keys[2] != "status" || len(p.Rest) > 0 {
		return undefined
	}
	status := fragment{"(SELECT c.status FROM configuration_targets c WHERE c.hub = i.hub AND c.configuration = ? AND c.device = i.device AND c.module = i.module)", []any{p.Keys[1]}}
	return operand{kind: aString, defined: sqlf("@ IS NOT NULL", status), text: status}
}

// jobProperty finds what a service reads of a job's work on one device, in the table j (job_devices).
func (d dialect) jobProperty(p query.Path) (operand, error) {
	below := steps(p, 1)
	switch strings.ToLower(p.Keys[0]) {
	case "deviceid":
		return within(always(aString, "j.device"), below), nil
	case "moduleid":
		return within(sometimes(aString, "j.module"), below), nil
	case "jobid":
		return within(always(aString, "j.job"), below), nil
	case "jobtype":
		return within(always(aString, "j.type"), below), nil
	case "status":
		return within(always(aString, "j.status"), below), nil
	case "starttimeutc":
		return within(d.time("j.started"), below), nil
	case "endtimeutc":
		return within(d.time("j.ended"), below), nil
	case "createddatetimeutc", "createdtimeutc": // the documentation writes both
		return within(d.time("j.created"), below), nil
	case "lastupdateddatetimeutc":
		return within(d.time("j.updated"), below), nil
	case "outcome":
		return d.document(d.optional("j.outcome"), below), nil
	case "error":
		return d.document(d.optional("j.error"), below), nil
	}
	return undefined, nil
}
