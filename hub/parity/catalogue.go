package parity

// rule is a place in the catalogue of what can be found.
type rule int

const (
	devices rule = iota
	edgeDevices
	disabledDevices
	devicesBehind
	modules
	twinsWritten
	twinsReported
	newKeys
	byAuthority
	noAuthority
	proofless
	parentElsewhere
	twice
	identityBad
	twinBad
	orphanTwins
	newGenerations
	everyDevice

	configurations
	deployments
	configurationBad

	routes
	fallbackOff
	enrichments
	groups
	storageEndpoints
	streamEndpoints
	cosmosEndpoints
	routeSources
	routeBad
	endpointBad

	commandSettings
	fileSettings
	settingBad
	fileStorage
	builtIn
	units

	authorities
	authorityUnverified
	authorityBad
	policyKeys
	policies
	filters
	publicAccess
	privateLinks
	entra
	deviceSAS
	tlsOld
	managed
	encryption
	outbound

	enrollments
	enrollmentGroups
	enrollmentKeys
	enrollmentProof
	enrollmentBad
	geoLatency
	enrollmentHubs
	webhooks
	idScope
	linkedHubs
	servicePolicies
	serviceAuthorities
	registrations

	severalHubs
	eventHubs
	others
	wrongs
	rules // how many there are
)

const (
	topicDevices       = "Devices and modules"
	topicConfiguration = "Configurations"
	topicRouting       = "Routing"
	topicSettings      = "Settings"
	topicAccess        = "Access"
	topicProvisioning  = "Provisioning"
	topicFiles         = "Files"

	sectionMoving   = "Moving a hub from Azure"
	sectionPorts    = "IoT Hub: protocols and ports"
	sectionAccess   = "IoT Hub: control access with shared access signatures"
	sectionFiles    = "IoT Hub: upload files"
	sectionEvents   = "IoT Hub: reading events"
	sectionCommands = "IoT Hub: direct methods and cloud-to-device messages"
	sectionPrivate  = "IoT Hub: private endpoints and public network access"
	sectionFilters  = "IoT Hub: IP filter rules, and gateways"
	sectionMQTT     = "IoT Hub: communicate using MQTT"
	sectionDPS      = "Device Provisioning Service"
)

func row(section, begins string) *Row { return &Row{section, begins} }

// catalogue is what findings say, all but counts and examples.
func catalogue(r rule) Finding {
	switch {
	case r <= everyDevice:
		return aboutDevices(r)
	case r <= endpointBad:
		return aboutRouting(r)
	case r <= outbound:
		return aboutTheHub(r)
	}
	return aboutProvisioning(r)
}

func aboutDevices(r rule) Finding {
	f := Finding{Verdict: Same, Topic: topicDevices}
	switch r {
	case devices:
		f.What = "devices"
	case edgeDevices:
		f.What = "of them edge devices, with $edgeAgent and $edgeHub"
	case disabledDevices:
		f.What = "of them disabled"
	case devicesBehind:
		f.What = "of them behind an edge device"
	case modules:
		f.What = "modules"
	case twinsWritten:
		f.What = "twins with tags or desired properties"
	case twinsReported:
		f.What, f.Verdict, f.Row = "twins with reported properties", Different, row(sectionMoving, "Reported properties are the device's")
		f.Next = "nothing: what a device reports here counts more, and then stays"
	case newKeys:
		f.What, f.Verdict, f.Row = "devices and modules whose keys the files do not hold: the hub makes new ones, and the devices must be given them", Different, row(sectionMoving, "Some exports leave keys out")
		f.Next = "export with keys (an export job with them, az iot hub state export, or device-identity show), or afterwards: isthmus hub device connection-string DEVICE"
	case byAuthority:
		f.What = "devices that show a certificate of an authority"
	case noAuthority:
		f.What, f.Verdict = "devices that show a certificate of an authority, while no verified authority is in the files", Missing
		f.Next = "give what az iot hub certificate list prints as well, or add it: isthmus hub authority add NAME FILE"
	case proofless:
		f.What, f.Verdict, f.Row = "modules without a proof of their own, which their edge runtime makes", Different, row(sectionMQTT, "Connections on behalf of children")
		f.Next = "nothing, where the runtime makes keys for its modules"
	case parentElsewhere:
		f.What, f.Verdict = "devices behind an edge device that is not in the files", Different
		f.Next = "it must be in the hub when they are imported"
	case twice:
		f.What, f.Verdict = "identities that stand in the files several times with a proof", Different
		f.Next = "they are imported in the order of the files; leave out what is older"
	case identityBad:
		f.What, f.Verdict = "devices and modules", Refused
	case twinBad:
		f.What, f.Verdict = "twins, and so their identities", Refused
	case orphanTwins:
		f.What, f.Verdict = "twins of identities that are not in the files", Different
		f.Next = "they are written where the hub has the identity; give what az iot hub device-identity list prints as well"
	case newGenerations:
		f.What, f.Verdict, f.Row = "identities whose generation id, etags and versions begin anew", Different, row(sectionMoving, "Generation ids, etags and versions go on")
		f.Next = "services that remember them must forget them"
	case everyDevice:
		f.What, f.Verdict, f.Row = "devices that must trust the deployment's authority, and find the hub's name where the hub is", Different, row(sectionPorts, "The server's certificate is signed by")
		f.Next = "give them the authority's certificate; an SDK takes it as its ca option"
	}
	return f
}

func aboutRouting(r rule) Finding {
	f := Finding{Verdict: Same, Topic: topicRouting}
	switch r {
	case configurations:
		f.What, f.Topic = "device and module configurations", topicConfiguration
	case deployments:
		f.What, f.Topic = "edge deployments", topicConfiguration
	case configurationBad:
		f.What, f.Topic, f.Verdict = "configurations and deployments", topicConfiguration, Refused
	case routes:
		f.What = "routes"
	case fallbackOff:
		f.What = "fallback route that is switched off"
	case enrichments:
		f.What = "enrichments"
	case groups:
		f.What = "consumer groups"
	case storageEndpoints:
		f.What, f.Verdict, f.Row = "storage endpoints: JSON lines in a bucket of that name, where the hub keeps files", Different, row(sectionEvents, "Endpoints are Event Hubs")
		f.Next = "whoever reads Avro or the account's blobs must read these"
	case streamEndpoints:
		f.What, f.Verdict, f.Row = "Event Hubs and Service Bus endpoints: each becomes a stream of its name", Different, row(sectionMoving, "Routes lead to Event Hubs")
		f.Next = "read one with an SDK of Event Hubs (isthmus hub connection-string --event-hubs, with EntityPath=NAME) or isthmus hub events --endpoint NAME, or change it to a webhook"
	case cosmosEndpoints:
		f.What, f.Verdict, f.Row = "Cosmos DB endpoints: each becomes a stream, which somebody must write into a database", Missing, row(sectionEvents, "Endpoints are Event Hubs")
		f.Next = "read one with isthmus hub events --endpoint NAME, or change it to a webhook"
	case routeSources:
		f.What, f.Verdict = "routes of a source that no hub here has", Missing
		f.Next = "leave them out: nothing here speaks of such events"
	case routeBad:
		f.What, f.Verdict = "routes and enrichments", Refused
	case endpointBad:
		f.What, f.Verdict = "endpoints, and so the routes to them", Refused
	}
	return f
}

func aboutTheHub(r rule) Finding {
	f := Finding{Verdict: Different, Topic: topicAccess}
	switch r {
	case commandSettings:
		f.What, f.Topic, f.Verdict = "settings of messages to devices and of feedback", topicSettings, Same
	case fileSettings:
		f.What, f.Topic, f.Verdict = "settings of files from devices and of their notifications", topicSettings, Same
	case settingBad:
		f.What, f.Topic, f.Verdict = "settings", topicSettings, Refused
	case fileStorage:
		f.What, f.Topic, f.Row = "storage account for files: the hub keeps them itself", topicSettings, row(sectionFiles, "A storage account of the customer's")
		f.Next = "isthmus hub serve --files URL keeps them in a bucket; files that are there already stay where they are"
	case builtIn:
		f.What, f.Topic, f.Row = "partitions and retention of the built-in events endpoint", topicSettings, row(sectionEvents, "Events are kept for 1 to 7 days")
		f.Next = "they are chosen when the hub is first started: isthmus hub serve --partitions N --keep DURATION"
	case units:
		f.What, f.Topic, f.Row = "units of a tier: limits are not bought here", topicSettings, row(sectionMQTT, "Throttling by units bought")
		f.Next = "see docs/limits.md"
	case authorities:
		f.What, f.Verdict = "authorities of devices' certificates, verified by you because they were there", Same
	case authorityUnverified:
		f.What, f.Next = "authorities that nobody verified: they let nobody in", "isthmus hub authority verify NAME"
	case authorityBad:
		f.What, f.Verdict = "authorities", Refused
	case policyKeys:
		f.What, f.Row = "built-in policies: their keys are this hub's own", row(sectionMoving, "Keys of policies are those")
		f.Next = "give services new connection strings: isthmus hub connection-string --policy service; and readers of events: with --event-hubs"
	case policies:
		f.What, f.Verdict, f.Row = "policies of your own", Missing, row(sectionAccess, "Policies can be made")
		f.Next = "use the built-in policy with the rights that are needed"
	case filters:
		f.What, f.Verdict, f.Row = "IP filter rules", Missing, row(sectionFilters, "IP filter rules of a hub")
		f.Next = "write them as the allowlist of a gateway in front of the hub, see docs/gateway.md"
	case publicAccess:
		f.What, f.Row, f.Next = "public network access", row(sectionPrivate, "Endpoints and connections are managed"), "set publicNetworkAccess in the hub's service manifest"
	case privateLinks:
		f.What, f.Row, f.Next = "private endpoint connections", row(sectionPrivate, "Endpoints and connections are managed"), "make and approve endpoints here: isthmus endpoint --help"
	case entra:
		f.What, f.Verdict, f.Row, f.Next = "hubs that take tokens of Microsoft Entra only", Missing, row(sectionAccess, "Bearer tokens of Microsoft Entra"), "services use the connection string of a policy"
	case deviceSAS:
		f.What, f.Verdict, f.Next = "rules that devices or modules may not use shared access keys", Missing, "make those devices selfSigned or certificateAuthority"
	case tlsOld:
		f.What, f.Row, f.Next = "hubs that take TLS before 1.2", row(sectionPorts, "TLS 1.2; 1.3"), "renew what speaks nothing newer"
	case managed:
		f.What, f.Next = "managed identities, with which the hub reached other resources", "nothing, unless an endpoint needs a key"
	case encryption:
		f.What, f.Verdict, f.Next = "encryption with a key of your own", Missing, "encrypt the disk of the hub's data directory"
	case outbound:
		f.What, f.Verdict, f.Next = "rules where the hub may connect to", Missing, "restrict it where the hub's machine is"
	}
	return f
}

func aboutProvisioning(r rule) Finding {
	f := Finding{Verdict: Same, Topic: topicProvisioning}
	switch r {
	case enrollments:
		f.What = "enrollments"
	case enrollmentGroups:
		f.What = "enrollment groups"
	case enrollmentKeys:
		f.What, f.Verdict, f.Row = "enrollments and groups whose keys the files do not hold: the service makes new ones", Different, row(sectionMoving, "Some exports leave keys out")
		f.Next = "export each with them: az iot dps enrollment show --show-keys true, az iot dps enrollment-group show --show-keys true"
	case enrollmentProof:
		f.What, f.Verdict, f.Next = "enrollments by certificate, of which Azure shows only the name", Refused, "create them with the certificate: isthmus dps enrollment create --help"
	case enrollmentBad:
		f.What, f.Verdict = "enrollments and groups", Refused
	case geoLatency:
		f.What, f.Verdict, f.Row = "enrollments with the policy geoLatency", Different, row(sectionDPS, "`geoLatency` measures")
	case enrollmentHubs:
		f.What, f.Verdict = "enrollments and groups that name hubs", Different
		f.Next = "hubs of these names must be served or linked here, or change the enrollments: isthmus dps enrollment update --help"
	case webhooks:
		f.What, f.Verdict = "enrollments and groups that ask a webhook for the hub", Different
		f.Next = "it must be reachable from here, and know the hubs that are here"
	case idScope:
		f.What, f.Verdict, f.Row = "provisioning services with an id scope and host names of their own", Different, row(sectionMoving, "An id scope is given")
		f.Next = "give devices the new id scope and host name"
	case linkedHubs:
		f.What, f.Verdict, f.Row = "linked hubs, whose connection strings no export has", Different, row(sectionDPS, "Hubs are linked through")
		f.Next = "hubs of the same process are linked by themselves; link others with their connection string"
	case servicePolicies:
		f.What, f.Verdict, f.Row = "policies of a provisioning service", Different, row(sectionDPS, "Policies are made by hand")
	case serviceAuthorities:
		f.What = "authorities of a provisioning service"
	case registrations:
		f.What, f.Verdict, f.Row = "registrations: devices register again", Different, row(sectionMoving, "Registrations, jobs and messages")
	case severalHubs:
		f.What, f.Verdict, f.Topic, f.Next = "hubs in one import: their settings come one after the other", Different, topicFiles, "import the files of one hub at a time"
	case eventHubs:
		f.What, f.Verdict, f.Topic, f.Row = "resources of Event Hubs, which are no part of a hub: a service of type eventhubs has the same here", Different, topicRouting, row(sectionMoving, "Namespaces of Event Hubs")
		f.Next = "declare the namespace and its event hubs, see docs/event-hubs.md, or make them: isthmus eventhub create NAME --partitions N"
	case others:
		f.What, f.Verdict, f.Topic, f.Next = "things that are nothing to import", Missing, topicFiles, "give the files that docs/import.md lists"
	case wrongs:
		f.What, f.Verdict, f.Topic = "things that cannot be read", Refused, topicFiles
	}
	return f
}
