package storage

import "github.com/isthmus-io/isthmus/fault"

// Reason is why something was refused, where clients tell more reasons apart than there are kinds of fault. It stands in the chain of the
// error; the texts are the codes of Azure's protocol (Blob service: error codes).
type Reason string

func (r Reason) Error() string { return string(r) }

const (
	ContainerNotFound      Reason = "ContainerNotFound"
	ContainerAlreadyExists Reason = "ContainerAlreadyExists"
	BlobNotFound           Reason = "BlobNotFound"
	BlobAlreadyExists      Reason = "BlobAlreadyExists"
	ConditionNotMet        Reason = "ConditionNotMet"
	NotModified            Reason = "NotModified" // a reader's condition: nothing is new
	SourceConditionNotMet  Reason = "SourceConditionNotMet"
	CannotVerifyCopySource Reason = "CannotVerifyCopySource"
	InvalidBlockList       Reason = "InvalidBlockList"
	InvalidName            Reason = "InvalidResourceName"
	InvalidMetadata        Reason = "InvalidMetadata"
	OutOfRange             Reason = "OutOfRangeQueryParameterValue"

	LeaseMissing      Reason = "LeaseIdMissing"
	LeaseMismatch     Reason = "LeaseIdMismatchWithBlobOperation"
	LeaseNotPresent   Reason = "LeaseNotPresentWithBlobOperation"
	LeaseTaken        Reason = "LeaseAlreadyPresent"
	LeaseOther        Reason = "LeaseIdMismatchWithLeaseOperation"
	LeaseNone         Reason = "LeaseNotPresentWithLeaseOperation"
	LeaseBreaking     Reason = "LeaseIsBreakingAndCannotBeAcquired"
	LeaseBroken       Reason = "LeaseIsBrokenAndCannotBeRenewed"
	LeaseBeingBroken  Reason = "LeaseIsBreakingAndCannotBeChanged"
	InvalidLeaseField Reason = "InvalidHeaderValue"

	KeysOff         Reason = "KeyBasedAuthenticationNotPermitted"
	NoIdentity      Reason = "InvalidAuthenticationInfo"
	WrongSignature  Reason = "AuthenticationFailed"
	MayNot          Reason = "AuthorizationPermissionMismatch"
	WrongService    Reason = "AuthorizationServiceMismatch"
	WrongLevel      Reason = "AuthorizationResourceTypeMismatch"
	WrongSourceIP   Reason = "AuthorizationSourceIPMismatch"
	NetworkRefused  Reason = "AuthorizationFailure"
	PublicForbidden Reason = "PublicAccessNotPermitted"
)

func noContainer(op, name string) error {
	return fault.Newf(op, fault.NotFound, "there is no container %.80q", name).Advise("create it first").Because(ContainerNotFound)
}

func noBlob(op, name string) error {
	return fault.Newf(op, fault.NotFound, "there is no blob %.200q", name).Because(BlobNotFound)
}
