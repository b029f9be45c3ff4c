package eventhub

import (
	"errors"

	"github.com/isthmus-io/isthmus/fault"
)

// ErrDisabled is the cause of refusals by an event hub that is disabled: errors.Is(err, eventhub.ErrDisabled).
var ErrDisabled = errors.New("the event hub is disabled")

func disabled(op, name string) error {
	return fault.Newf(op, fault.Conflict, "the event hub %s is disabled", name).
		Advise("enable it: isthmus eventhub set %s --status active", name).Because(ErrDisabled)
}

// noEntity is what a client is told that asks for an event hub which is not there; SDKs know it by these words.
func noEntity(op, name string) error {
	return fault.Newf(op, fault.NotFound, "The messaging entity '%s' could not be found.", shorten(name))
}

// badSignature is what everybody is told who has no valid signature, whatever the reason.
func badSignature(op string, why error) error {
	return fault.New(op, fault.Unauthenticated, "InvalidSignature: The token has an invalid signature.").Because(why)
}

// keysAreOff is what the holder of a key is told where only identities count; people look these words up.
func keysAreOff(op string) error {
	return fault.New(op, fault.Unauthenticated, "LocalAuthDisabled: Authorization failed because SAS authentication has been disabled for the namespace. "+
		"Shared keys are switched off for this service: use an identity.").
		Advise("give the workload a role by a RoleAssignment, or set spec.keyAccess of the service to Enabled")
}

// shorten keeps words of strangers out of logs and answers beyond a line.
func shorten(s string) string {
	if len(s) > 100 {
		return s[:100] + "..."
	}
	return s
}
