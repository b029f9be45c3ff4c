package httpdoor

import (
	"slices"

	"github.com/isthmus-io/isthmus/hub"
)

// routes is the door's table. Of several paths that fit, the first counts.
func routes() []route {
	return slices.Concat(ownRoutes(), jobRoutes(), configurationRoutes())
}

// ownRoutes are those of the hub itself.
func ownRoutes() []route {
	return []route{
		{method: "GET", path: "devices", right: hub.RegistryRead, serve: listDevices},
		{method: "POST", path: "devices", right: hub.RegistryWrite, serve: changeDevices},
		{method: "GET", path: "devices/{device}", right: hub.RegistryRead, serve: getIdentity},
		{method: "PUT", path: "devices/{device}", right: hub.RegistryWrite, serve: putIdentity},
		{method: "DELETE", path: "devices/{device}", right: hub.RegistryWrite, serve: deleteIdentity},
		{method: "GET", path: "devices/{device}/modules", by: byEdge, right: hub.RegistryRead, serve: listModules},
		{method: "GET", path: "devices/{device}/modules/{module}", by: byEdge, right: hub.RegistryRead, serve: getIdentity},
		{method: "PUT", path: "devices/{device}/modules/{module}", by: byEdge, right: hub.RegistryWrite, serve: putIdentity},
		{method: "DELETE", path: "devices/{device}/modules/{module}", by: byEdge, right: hub.RegistryWrite, serve: deleteIdentity},
		{method: "GET", path: "statistics/devices", right: hub.RegistryRead, serve: countDevices},
		{method: "GET", path: "statistics/service", right: hub.ServiceConnect, serve: countConnected},

		{method: "GET", path: "twins/{device}", right: hub.ServiceConnect, serve: getTwin},
		{method: "PATCH", path: "twins/{device}", right: hub.ServiceConnect, serve: patchTwin},
		{method: "PUT", path: "twins/{device}", right: hub.ServiceConnect, serve: replaceTwin},
		{method: "GET", path: "twins/{device}/modules/{module}", right: hub.ServiceConnect, serve: getTwin},
		{method: "PATCH", path: "twins/{device}/modules/{module}", right: hub.ServiceConnect, serve: patchTwin},
		{method: "PUT", path: "twins/{device}/modules/{module}", right: hub.ServiceConnect, serve: replaceTwin},

		{method: "POST", path: "devices/{device}/messages/events", by: byDevice, serve: takeTelemetry},
		{method: "POST", path: "devices/{device}/modules/{module}/messages/events", by: byDevice, serve: takeTelemetry},

		{method: "GET", path: "isthmus/v1/events", right: hub.ServiceConnect, own: true, serve: streamEvents},
		{method: "GET", path: "isthmus/v1/connections", right: hub.RegistryRead, own: true, serve: listConnections},
		{method: "POST", path: "isthmus/v1/devices/{device}/keys", right: hub.RegistryWrite, own: true, serve: renewKey},
		{method: "POST", path: "isthmus/v1/devices/{device}/modules/{module}/keys", right: hub.RegistryWrite, own: true, serve: renewKey},
		{method: "GET", path: "isthmus/v1/policies", right: hub.EveryRight, own: true, both: true, serve: listPolicies},
		{method: "POST", path: "isthmus/v1/policies/{name}/keys", right: hub.EveryRight, own: true, both: true, serve: renewPolicyKey},
		{method: "GET", path: "isthmus/v1/hubs", local: true, own: true, both: true, serve: listHubs},
		{method: "GET", path: "isthmus/v1/policies/{name}", local: true, own: true, both: true, serve: getPolicy},

		{method: "GET", path: "isthmus/v1/authorities", right: hub.RegistryRead, own: true, serve: listAuthorities},
		{method: "PUT", path: "isthmus/v1/authorities/{name}", right: hub.EveryRight, own: true, serve: putAuthority},
		{method: "DELETE", path: "isthmus/v1/authorities/{name}", right: hub.EveryRight, own: true, serve: deleteAuthority},
		{method: "POST", path: "isthmus/v1/authorities/{name}/challenge", right: hub.EveryRight, own: true, serve: challengeAuthority},
		{method: "POST", path: "isthmus/v1/authorities/{name}/verify", right: hub.EveryRight, own: true, serve: verifyAuthority},
	}
}
