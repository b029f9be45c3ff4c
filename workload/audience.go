package workload

import (
	"slices"
	"strings"
)

// Audiences that SDKs ask tokens for, whatever the service's name. A slash at the end makes no difference.
const (
	AudienceEventHubs = "https://eventhubs.azure.net/"
	AudienceStorage   = "https://storage.azure.com/"
	AudienceIoTHub    = "https://iothubs.azure.net/"
	AudienceRegistry  = "https://containerregistry.azure.net/"
)

const maxAudience = 512

// Shared tells whether many services take tokens for an audience, or for the host name in one. A service that went by such a name could show
// to all of them what it is shown.
func Shared(audience string) bool {
	return meant(audience, []string{AudienceEventHubs, AudienceStorage, AudienceIoTHub, AudienceRegistry})
}

// Audience is what a token for one service alone is for, by its host name.
func Audience(host string) string { return "https://" + host + "/" }

// bare takes from an audience what makes no difference: the scheme, slashes at the end, case.
func bare(audience string) string {
	for _, scheme := range []string{"https://", "sb://", "amqps://", "api://"} {
		if len(audience) > len(scheme) && strings.EqualFold(audience[:len(scheme)], scheme) {
			audience = audience[len(scheme):]
			break
		}
	}
	return strings.ToLower(strings.TrimRight(audience, "/"))
}

// meant tells whether a token's audience is one of those a service goes by.
func meant(audience string, ours []string) bool {
	audience = bare(audience)
	return audience != "" && slices.ContainsFunc(ours, func(one string) bool { return bare(one) == audience })
}
