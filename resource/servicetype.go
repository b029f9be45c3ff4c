package resource

import "strings"

// ServiceType says what a service is.
type ServiceType string

const (
	TypeIoTHub    ServiceType = "iothub"
	TypeDPS       ServiceType = "dps"
	TypeRegistry  ServiceType = "registry"
	TypeBlob      ServiceType = "blob"
	TypeEventHubs ServiceType = "eventhubs"
	TypeFunction  ServiceType = "function"
	TypeTCP       ServiceType = "tcp"
)

// TypeInfo is one row of the table from which everything about a type derives.
type TypeInfo struct {
	Type     ServiceType
	GroupID  string   // Azure's sub-resource name (Private Link: DNS configuration table)
	Ports    []uint16 // what devices dial
	Suffixes []string // public suffixes in front of which "privatelink." is put; the first is the usual one, the longest that fits wins
}

var types = []TypeInfo{
	{TypeIoTHub, "iotHub", []uint16{8883, 5671, 443}, []string{"azure-devices.net", "azure-devices.us", "azure-devices.cn", "servicebus.windows.net"}},
	{TypeDPS, "iotDps", []uint16{8883, 5671, 443}, []string{"azure-devices-provisioning.net", "azure-devices-provisioning.us", "azure-devices-provisioning.cn"}},
	{TypeRegistry, "registry", []uint16{443}, []string{"azurecr.io", "azurecr.us", "azurecr.cn"}},
	{TypeBlob, "blob", []uint16{443}, []string{"blob.core.windows.net", "blob.core.usgovcloudapi.net", "blob.core.chinacloudapi.cn"}},
	{TypeEventHubs, "namespace", []uint16{5671, 443}, []string{"servicebus.windows.net", "servicebus.usgovcloudapi.net", "servicebus.chinacloudapi.cn"}},
	{TypeFunction, "sites", []uint16{443}, []string{"azurewebsites.net", "scm.azurewebsites.net", "azurewebsites.us"}},
	{TypeTCP, "", nil, nil},
}

// TypeOf returns the row of a type. The slices are shared: do not change them.
func TypeOf(t ServiceType) (TypeInfo, bool) {
	for _, info := range types {
		if info.Type == t {
			return info, true
		}
	}
	return TypeInfo{}, false
}

func typeList() string {
	var b strings.Builder
	for i, t := range types {
		if i > 0 {
			b.WriteString(", ")
		}
		b.WriteString(string(t.Type))
	}
	return b.String()
}

func (i TypeInfo) suffixOr(d string) string {
	if len(i.Suffixes) == 0 {
		return d
	}
	return i.Suffixes[0]
}

// PrivateName is a public name with what stands for it inside a network that has an endpoint.
type PrivateName struct {
	Public  string // contoso.azure-devices.net
	Private string // contoso.privatelink.azure-devices.net, or the public name again
	Zone    string // privatelink.azure-devices.net, or empty when answered directly
}

// privateName puts "privatelink." before the longest suffix that fits, as Azure names its private zones:
// r.westeurope.data.azurecr.io becomes r.westeurope.data.privatelink.azurecr.io.
func privateName(host string, suffixes []string) PrivateName {
	best := ""
	for _, s := range suffixes {
		if len(s) > len(best) && strings.HasSuffix(host, "."+s) {
			best = s
		}
	}
	if best == "" {
		return PrivateName{Public: host, Private: host}
	}
	zone := "privatelink." + best
	return PrivateName{Public: host, Private: strings.TrimSuffix(host, best) + zone, Zone: zone}
}
