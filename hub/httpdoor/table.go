package httpdoor

import (
	"slices"

	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/limit"
)

// routes is the door's table. Of several paths that fit, the first counts.
func routes() []route {
	return slices.Concat(ownRoutes(), isthmusRoutes(), jobRoutes(), configurationRoutes(), streamRoutes(), fileRoutes(), routingRoutes(), importRoutes())
}

// ownRoutes are those of the hub itself.
func ownRoutes() []route {
	return []route{
		{method: "GET", path: "devices", open: toReaders, right: hub.RegistryRead, class: limit.Registry, serve: listDevices},
		{method: "POST", path: "devices", right: hub.RegistryWrite, serve: changeDevices},
		{method: "POST", path: "devices/query", open: toReaders, right: hub.ServiceConnect, or: hub.RegistryRead, class: limit.Queries, serve: runQuery},
		{method: "GET", path: "devices/{device}", open: toReaders, right: hub.RegistryRead, class: limit.Registry, serve: getIdentity},
		{method: "PUT", path: "devices/{device}", right: hub.RegistryWrite, class: limit.Registry, serve: putIdentity},
		{method: "DELETE", path: "devices/{device}", right: hub.RegistryWrite, class: limit.Registry, serve: deleteIdentity},
		{method: "GET", path: "devices/{device}/modules", open: toReaders, by: byEdge, right: hub.RegistryRead, class: limit.Registry, serve: listModules},
		{method: "GET", path: "devices/{device}/modules/{module}", open: toReaders, by: byEdge, right: hub.RegistryRead, class: limit.Registry, serve: getIdentity},
		{method: "PUT", path: "devices/{device}/modules/{module}", by: byEdge, right: hub.RegistryWrite, class: limit.Registry, serve: putIdentity},
		{method: "DELETE", path: "devices/{device}/modules/{module}", by: byEdge, right: hub.RegistryWrite, class: limit.Registry, serve: deleteIdentity},
		{method: "GET", path: "statistics/devices", open: toReaders, right: hub.RegistryRead, class: limit.Registry, serve: countDevices},
		{method: "GET", path: "statistics/service", open: toReaders, right: hub.ServiceConnect, class: limit.Registry, serve: countConnected},

		{method: "GET", path: "twins/{device}", open: toReaders, right: hub.ServiceConnect, class: limit.TwinReads, serve: getTwin},
		{method: "PATCH", path: "twins/{device}", right: hub.ServiceConnect, class: limit.TwinUpdates, serve: patchTwin},
		{method: "PUT", path: "twins/{device}", right: hub.ServiceConnect, class: limit.TwinUpdates, serve: replaceTwin},
		{method: "GET", path: "twins/{device}/modules/{module}", open: toReaders, right: hub.ServiceConnect, class: limit.TwinReads, serve: getTwin},
		{method: "PATCH", path: "twins/{device}/modules/{module}", right: hub.ServiceConnect, class: limit.TwinUpdates, serve: patchTwin},
		{method: "PUT", path: "twins/{device}/modules/{module}", right: hub.ServiceConnect, class: limit.TwinUpdates, serve: replaceTwin},
		{method: "POST", path: "twins/{device}/methods", right: hub.ServiceConnect, serve: invokeMethod},
		{method: "POST", path: "twins/{device}/modules/{module}/methods", right: hub.ServiceConnect, serve: invokeMethod},
		{method: "GET", path: "digitaltwins/{device}", open: toReaders, right: hub.ServiceConnect, class: limit.TwinReads, serve: getDigitalTwin},
		{method: "PATCH", path: "digitaltwins/{device}", right: hub.ServiceConnect, class: limit.TwinUpdates, serve: patchDigitalTwin},
		{method: "POST", path: "digitaltwins/{device}/commands/{name}", right: hub.ServiceConnect, serve: invokeCommand},
		{method: "POST", path: "digitaltwins/{device}/components/{component}/commands/{name}", right: hub.ServiceConnect, serve: invokeCommand},

		{method: "DELETE", path: "devices/{device}/commands", right: hub.ServiceConnect, serve: purgeCommands},
		{method: "DELETE", path: "devices/{device}/modules/{module}/commands", right: hub.ServiceConnect, serve: purgeCommands},
		{method: "GET", path: "messages/serviceBound/feedback", right: hub.ServiceConnect, serve: receiveFeedback},
		{method: "DELETE", path: "messages/serviceBound/feedback/{name}", right: hub.ServiceConnect, serve: completeFeedback},
		{method: "POST", path: "messages/serviceBound/feedback/{name}/abandon", right: hub.ServiceConnect, serve: abandonFeedback},
		{method: "GET", path: "isthmus/v1/commands/settings", right: hub.ServiceConnect, own: true, serve: getCommandSettings},
		{method: "PATCH", path: "isthmus/v1/commands/settings", right: hub.EveryRight, own: true, serve: patchCommandSettings},

		{method: "POST", path: "devices/{device}/messages/events", by: byDevice, serve: takeTelemetry},
		{method: "POST", path: "devices/{device}/modules/{module}/messages/events", by: byDevice, serve: takeTelemetry},
		{method: "GET", path: "devices/{device}/messages/devicebound", by: byDevice, serve: receiveCommand},
		{method: "DELETE", path: "devices/{device}/messages/devicebound/{name}", by: byDevice, serve: settleCommand},
		{method: "POST", path: "devices/{device}/messages/devicebound/{name}/abandon", by: byDevice, serve: abandonCommand},
		{method: "GET", path: "devices/{device}/modules/{module}/messages/devicebound", by: byDevice, serve: receiveCommand},
		{method: "DELETE", path: "devices/{device}/modules/{module}/messages/devicebound/{name}", by: byDevice, serve: settleCommand},
		{method: "POST", path: "devices/{device}/modules/{module}/messages/devicebound/{name}/abandon", by: byDevice, serve: abandonCommand},
	}
}

// isthmusRoutes are those which only Isthmus has.
func isthmusRoutes() []route {
	return []route{
		{method: "GET", path: "isthmus/v1/events", open: toReceivers, right: hub.ServiceConnect, own: true, serve: streamEvents},
		{method: "GET", path: "isthmus/v1/connections", open: toReaders, right: hub.RegistryRead, own: true, serve: listConnections},
		{method: "POST", path: "isthmus/v1/devices/{device}/messages", right: hub.ServiceConnect, own: true, serve: sendCommand},
		{method: "POST", path: "isthmus/v1/devices/{device}/modules/{module}/messages", right: hub.ServiceConnect, own: true, serve: sendCommand},
		{method: "POST", path: "isthmus/v1/query/plan", open: toReaders, right: hub.RegistryRead, own: true, class: limit.Queries, serve: explainQuery},
		{method: "GET", path: "isthmus/v1/indexes", open: toReaders, right: hub.RegistryRead, own: true, serve: listIndexes},
		{method: "PUT", path: "isthmus/v1/indexes/{name}", right: hub.EveryRight, own: true, serve: declareIndex},
		{method: "DELETE", path: "isthmus/v1/indexes/{name}", right: hub.EveryRight, own: true, serve: dropIndex},

		{method: "POST", path: "isthmus/v1/devices/{device}/keys", right: hub.RegistryWrite, own: true, serve: renewKey},
		{method: "POST", path: "isthmus/v1/devices/{device}/modules/{module}/keys", right: hub.RegistryWrite, own: true, serve: renewKey},
		{method: "GET", path: "isthmus/v1/policies", right: hub.EveryRight, own: true, serve: listPolicies},
		{method: "POST", path: "isthmus/v1/policies/{name}/keys", right: hub.EveryRight, own: true, serve: renewPolicyKey},
		{method: "GET", path: "isthmus/v1/hubs", local: true, own: true, both: true, serve: listHubs},
		{method: "GET", path: "isthmus/v1/policies/{name}", local: true, own: true, serve: getPolicy},

		{method: "GET", path: "isthmus/v1/authorities", right: hub.RegistryRead, own: true, serve: listAuthorities},
		{method: "GET", path: "isthmus/v1/authorities/{name}", right: hub.RegistryRead, own: true, serve: getAuthority},
		{method: "PUT", path: "isthmus/v1/authorities/{name}", right: hub.EveryRight, own: true, serve: putAuthority},
		{method: "DELETE", path: "isthmus/v1/authorities/{name}", right: hub.EveryRight, own: true, serve: deleteAuthority},
		{method: "POST", path: "isthmus/v1/authorities/{name}/challenge", right: hub.EveryRight, own: true, serve: challengeAuthority},
		{method: "POST", path: "isthmus/v1/authorities/{name}/verify", right: hub.EveryRight, own: true, serve: verifyAuthority},
	}
}
