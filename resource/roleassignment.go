package resource

import "github.com/isthmus-io/isthmus/fault"

// RoleAssignment lets a workload use a service with its identity, without any key. It belongs to the service's owner; the workload may be
// another tenant's.
type RoleAssignment struct {
	Header
	Spec   RoleAssignmentSpec   `json:"spec"`
	Status RoleAssignmentStatus `json:"status,omitzero"`
}

// DataRole is what a workload may do with a service's data (Azure: built-in roles of the same names).
type DataRole string

const (
	RoleDataSender      DataRole = "Data Sender"      // append events
	RoleDataReceiver    DataRole = "Data Receiver"    // read events, of an event hub or of a hub's built-in endpoint
	RoleDataOwner       DataRole = "Data Owner"       // both, and change event hubs and consumer groups
	RoleBlobReader      DataRole = "Blob Reader"      // read and list blobs
	RoleBlobContributor DataRole = "Blob Contributor" // and write and delete them
	RoleHubReader       DataRole = "Hub Reader"       // read a hub's devices and twins
	RoleHubContributor  DataRole = "Hub Contributor"  // and change them, call methods, send commands
	RoleRegistryPuller  DataRole = "Registry Puller"
	RoleRegistryPusher  DataRole = "Registry Pusher"
)

// roleTypes says at which types of services a role means something.
var roleTypes = map[DataRole][]ServiceType{
	RoleDataSender: {TypeEventHubs}, RoleDataReceiver: {TypeEventHubs, TypeIoTHub}, RoleDataOwner: {TypeEventHubs},
	RoleBlobReader: {TypeBlob}, RoleBlobContributor: {TypeBlob}, RoleHubReader: {TypeIoTHub}, RoleHubContributor: {TypeIoTHub},
	RoleRegistryPuller: {TypeRegistry}, RoleRegistryPusher: {TypeRegistry},
}

// RoleTypes returns the types of services at which a role means something; none for a word that is no role. Do not change the slice.
func RoleTypes(r DataRole) []ServiceType { return roleTypes[r] }

// WorkloadKind is the sort of noun a workload is.
type WorkloadKind string

const (
	WorkloadBridge WorkloadKind = "Bridge"
	WorkloadAgent  WorkloadKind = "Agent"
)

// Workload is a program with an identity.
type Workload struct {
	Kind WorkloadKind `json:"kind" enum:"Bridge,Agent" doc:"the sort of noun it is"`
	Name string       `json:"name" doc:"TENANT/NETWORK/NAME" example:"ot/ot-cloud/telemetry"`
}

// RoleAssignmentSpec says who may do what with which service.
type RoleAssignmentSpec struct {
	Service  string   `json:"service" doc:"the service, of the same network" example:"lake"`
	Role     DataRole `json:"role" enum:"Data Sender,Data Receiver,Data Owner,Blob Reader,Blob Contributor,Hub Reader,Hub Contributor,Registry Puller,Registry Pusher" doc:"what the workload may do"`
	Scope    string   `json:"scope,omitempty" doc:"one event hub, container or repository; the whole service when absent" example:"telemetry"`
	Workload Workload `json:"workload" doc:"who may"`
}

// RoleAssignmentStatus is what Isthmus says of an assignment.
type RoleAssignmentStatus struct {
	Known bool `json:"known" doc:"whether the workload is there, as far as this tenant may know: of another tenant's only with a contract or an approved connection between the two"`
}

func (r *RoleAssignment) SpecAndStatus() (any, any) { return &r.Spec, &r.Status }

// Validate checks what needs no look at the service.
func (r *RoleAssignment) Validate() error {
	op := "resource.RoleAssignment.Validate"
	if err := r.validate(); err != nil {
		return err
	}
	if err := ValidateName(r.Spec.Service); err != nil {
		return within(op, "spec.service", err)
	}
	if RoleTypes(r.Spec.Role) == nil {
		return fault.Newf(op, fault.Invalid, "spec.role is %.40q", r.Spec.Role).Advise("use a role such as %s, %s or %s", RoleDataSender, RoleDataReceiver, RoleBlobContributor)
	}
	if len(r.Spec.Scope) > 256 {
		return fault.Newf(op, fault.Invalid, "spec.scope has %d bytes", len(r.Spec.Scope)).Advise("name one event hub or container")
	}
	return r.Spec.Workload.validate(op, "spec.workload")
}

func (w Workload) validate(op, field string) error {
	switch w.Kind {
	case WorkloadBridge, WorkloadAgent:
	default:
		return fault.Newf(op, fault.Invalid, "%s.kind is %.20q", field, w.Kind).Advise("use Bridge or Agent")
	}
	if _, err := ParseKey(Kind(w.Kind), w.Name); err != nil {
		return within(op, field+".name", err)
	}
	return nil
}
