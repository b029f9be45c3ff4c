package code

// Condition returns the error condition by which AMQP tells the refusal (AMQP 1.0, 2.8.15 to 2.8.18; IoT Hub's own begin with
// com.microsoft). SDKs of devices and of services know these and no others.
func (c Code) Condition() string {
	switch c {
	case QueueDepthExceeded, QuotaExceeded, JobQuotaExceeded, ActiveUploadsExceeded, TooManyDevices:
		return "amqp:resource-limit-exceeded"
	case Throttled:
		return "com.microsoft:device-container-throttled"
	case DeviceAlreadyExists, ModuleAlreadyExists, JobAlreadyExists, ConfigurationExists:
		return "com.microsoft:device-already-exists"
	case LinkCreationConflict, ConnectionTakenOver:
		return "amqp:link:stolen"
	case PreconditionFailed:
		return "com.microsoft:precondition-failed"
	case MessageLockLost:
		return "com.microsoft:message-lock-lost"
	case MessageTooLarge:
		return "amqp:link:message-size-exceeded"
	case InvalidOperation, Forbidden, MethodNotAllowed:
		return "amqp:not-allowed"
	case ServiceUnavailable, DeviceDidNotAnswer:
		return "com.microsoft:timeout"
	}
	switch c.Status {
	case 400:
		return "com.microsoft:argument-error"
	case 401, 403:
		return "amqp:unauthorized-access"
	case 404:
		return "amqp:not-found"
	}
	return "amqp:internal-error"
}
