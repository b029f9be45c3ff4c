package httpdoor

import "github.com/isthmus-io/isthmus/eventhub"

// route is one row of the door's table. Fixed segments are compared without regard to case.
type route struct {
	method, path string
	right        eventhub.Right
	entity       bool // the path's first {} is an event hub, and a policy of that one is enough
	local        bool // only on the local socket
	keys         bool // about policies: not for workloads, which would have a key beyond their role's end
	serve        func(*exchange) error
}

const (
	base = "isthmus/v1/eventhubs"
	// eventHubArg stands for an event hub, whose name cannot begin with a $: that is how paths about the namespace begin.
	eventHubArg = "{eventhub}"
)

// routes is the table.
func routes() []route {
	const (
		send   = eventhub.Send
		listen = eventhub.Listen
		manage = eventhub.Manage

		hub       = base + "/" + eventHubArg
		group     = hub + "/consumergroups/{group}"
		partition = "/{partition}"
	)
	list := []route{
		{method: "GET", path: base, right: listen, serve: listEventHubs},
		{method: "GET", path: base + "/$namespace", right: listen, serve: describe},
		{method: "GET", path: hub, right: listen, entity: true, serve: showEventHub},
		{method: "PUT", path: hub, right: manage, serve: createEventHub},
		{method: "PATCH", path: hub, right: manage, entity: true, serve: changeEventHub},
		{method: "DELETE", path: hub, right: manage, serve: deleteEventHub},

		{method: "POST", path: hub + "/messages", right: send, entity: true, serve: sendEvents},
		{method: "POST", path: hub + "/partitions/{partition}/messages", right: send, entity: true, serve: sendEvents},
		{method: "GET", path: hub + "/messages", right: listen, entity: true, serve: streamEvents},

		{method: "GET", path: hub + "/consumergroups", right: listen, entity: true, serve: listGroups},
		{method: "PUT", path: group, right: manage, entity: true, serve: createGroup},
		{method: "DELETE", path: group, right: manage, entity: true, serve: deleteGroup},
		{method: "GET", path: group + "/checkpoints", right: listen, entity: true, serve: listCheckpoints},
		{method: "PUT", path: group + "/checkpoints" + partition, right: listen, entity: true, serve: setCheckpoint},
		{method: "GET", path: group + "/ownerships", right: listen, entity: true, serve: listOwnerships},
		{method: "PUT", path: group + "/ownerships" + partition, right: listen, entity: true, serve: claimOwnership},

		// Event Hubs REST, "Send event" and "Send batch events".
		{method: "POST", path: eventHubArg + "/messages", right: send, entity: true, serve: sendEvents},
		{method: "POST", path: eventHubArg + "/partitions/{partition}/messages", right: send, entity: true, serve: sendEvents},
	}
	for _, entity := range []bool{false, true} {
		path := base + "/$policies"
		if entity {
			path = hub + "/policies"
		}
		list = append(list,
			route{method: "GET", path: path, right: manage, entity: entity, keys: true, serve: listPolicies},
			route{method: "PUT", path: path + "/{policy}", right: manage, entity: entity, keys: true, serve: createPolicy},
			route{method: "DELETE", path: path + "/{policy}", right: manage, entity: entity, keys: true, serve: deletePolicy},
			route{method: "POST", path: path + "/{policy}/keys", right: manage, entity: entity, keys: true, serve: renewPolicyKey},
			route{method: "GET", path: path + "/{policy}/keys", entity: entity, keys: true, local: true, serve: showKeys})
	}
	return list
}
