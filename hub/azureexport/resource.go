package azureexport

// Hub is the resource of a hub (Azure Resource Manager: Microsoft.Devices/IotHubs). What is secret in it is not read.
type Hub struct {
	Name       string `json:"name"`
	SKU        SKU    `json:"sku"`
	Identity   struct{ Type string }
	Properties HubProperties `json:"properties"`
}

// SKU is how many units of what were bought.
type SKU struct {
	Name     string `json:"name"`
	Capacity int    `json:"capacity"`
}

// HubProperties are the settings of a hub.
type HubProperties struct {
	HostName                   string
	Routing                    *Routing
	CloudToDevice              *CloudToDevice
	MessagingEndpoints         map[string]Delivery // fileNotifications
	StorageEndpoints           map[string]Storage  // $default
	FileNotifications          bool                `json:"enableFileUploadNotifications"`
	EventHubEndpoints          map[string]Events   // events
	IPFilterRules              []IPRule            `json:"ipFilterRules"`
	NetworkRuleSets            *NetworkRules
	AuthorizationPolicies      []Policy
	MinTLSVersion              string `json:"minTlsVersion"`
	PublicNetworkAccess        string
	PrivateEndpointConnections []struct{}
	DisableLocalAuth           bool
	DisableDeviceSAS           bool     `json:"disableDeviceSAS"`
	DisableModuleSAS           bool     `json:"disableModuleSAS"`
	AllowedFQDNs               []string `json:"allowedFqdnList"`
	RestrictOutbound           bool     `json:"restrictOutboundNetworkAccess"`
	Encryption                 *struct{}
	DeviceStreams              *struct{ StreamingEndpoints []string }
}

// Routing is where a hub sends messages.
type Routing struct {
	Endpoints   Endpoints
	Routes      []Route
	Fallback    *Route `json:"fallbackRoute"`
	Enrichments []Enrichment
}

// Endpoints are where routes lead, by kind.
type Endpoints struct {
	EventHubs         []Endpoint
	ServiceBusQueues  []Endpoint
	ServiceBusTopics  []Endpoint
	StorageContainers []Endpoint
	Cosmos            []Endpoint `json:"cosmosDBSqlCollections"`
}

// Endpoint is one of them.
type Endpoint struct {
	Name          string
	ContainerName string // and what follows: of storage
	Encoding      string
	FileFormat    string `json:"fileNameFormat"`
	BatchSeconds  int    `json:"batchFrequencyInSeconds"`
	ChunkBytes    int    `json:"maxChunkSizeInBytes"`
}

// Route leads messages to endpoints.
type Route struct {
	Name      string
	Source    string
	Condition string
	Endpoints []string `json:"endpointNames"`
	Enabled   bool     `json:"isEnabled"`
}

// Enrichment is a property that messages get.
type Enrichment struct {
	Key       string
	Value     string
	Endpoints []string `json:"endpointNames"`
}

// CloudToDevice are the settings of messages to devices; durations are ISO 8601.
type CloudToDevice struct {
	MaxDeliveryCount int
	DefaultTTL       string `json:"defaultTtlAsIso8601"`
	Feedback         *Delivery
}

// Delivery is how long and how often something is offered; durations are ISO 8601.
type Delivery struct {
	Lock             string `json:"lockDurationAsIso8601"`
	TTL              string `json:"ttlAsIso8601"`
	MaxDeliveryCount int
}

// Storage is the account that devices upload files to.
type Storage struct {
	ContainerName string
	TTL           string `json:"sasTtlAsIso8601"`
}

// Events is the built-in endpoint.
type Events struct {
	Partitions int `json:"partitionCount"`
	Days       int `json:"retentionTimeInDays"`
}

// IPRule lets a network in, or not.
type IPRule struct {
	Name   string `json:"filterName"`
	Action string
	Mask   string `json:"ipMask"`
}

// NetworkRules are the newer form of IP filters.
type NetworkRules struct {
	DefaultAction string
	IPRules       []IPRule `json:"ipRules"`
}

// Policy is a shared access policy, without its keys.
type Policy struct {
	Name   string `json:"keyName"`
	Rights string
}

// Service is the resource of a provisioning service (Azure Resource Manager: Microsoft.Devices/ProvisioningServices).
type Service struct {
	Name       string
	Properties struct {
		IDScope               string `json:"idScope"`
		AllocationPolicy      string
		ServiceHostName       string      `json:"serviceOperationsHostName"`
		DeviceHostName        string      `json:"deviceProvisioningHostName"`
		Hubs                  []LinkedHub `json:"iotHubs"`
		AuthorizationPolicies []Policy
		IPFilterRules         []IPRule `json:"ipFilterRules"`
		PublicNetworkAccess   string
	}
}

// LinkedHub is a hub that a provisioning service assigns devices to.
type LinkedHub struct {
	Name     string
	Location string
	Weight   *int  `json:"allocationWeight"`
	Applies  *bool `json:"applyAllocationPolicy"`
}
