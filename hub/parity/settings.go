package parity

import (
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub/azureexport"
	"github.com/isthmus-io/isthmus/hub/hubclient"
	"github.com/isthmus-io/isthmus/hub/route"
)

// Settings are what the resource of a hub becomes here, all of it possible.
type Settings struct {
	Endpoints   []hubclient.Endpoint
	Routes      []hubclient.Route
	Enrichments []hubclient.Enrichment
	Fallback    *bool // nil leaves it as it is
	Commands    hubclient.CommandSettings
	Files       hubclient.FileSettings
}

// aside is what a setting is found to be on the way.
type aside func(r rule, example string, why error)

// SettingsOf translates a hub's resource; what cannot be is left out, and a Judge says so.
func SettingsOf(h *azureexport.Hub) Settings {
	return settingsOf(h, func(rule, string, error) {})
}

func settingsOf(h *azureexport.Hub, note aside) Settings {
	var s Settings
	p := h.Properties
	if p.Routing != nil {
		s.endpoints(p.Routing.Endpoints, note)
		s.routes(p.Routing, note)
	}
	if c := p.CloudToDevice; c != nil {
		s.Commands = hubclient.CommandSettings{
			DefaultTTLSeconds: seconds("defaultTtlAsIso8601", c.DefaultTTL, 60, 172_800, note), MaxDeliveryCount: number("maxDeliveryCount", c.MaxDeliveryCount, note),
		}
		if f := c.Feedback; f != nil {
			s.Commands.FeedbackTTLSeconds = seconds("feedback.ttlAsIso8601", f.TTL, 60, 172_800, note)
			s.Commands.FeedbackLockSeconds = seconds("feedback.lockDurationAsIso8601", f.Lock, 5, 300, note)
			s.Commands.FeedbackDeliveries = number("feedback.maxDeliveryCount", f.MaxDeliveryCount, note)
		}
		note(commandSettings, h.Name, nil)
	}
	s.files(h, note)
	return s
}

func (s *Settings) files(h *azureexport.Hub, note aside) {
	p := h.Properties
	store, stores := p.StorageEndpoints["$default"]
	told, tells := p.MessagingEndpoints["fileNotifications"]
	if !stores && !tells {
		return
	}
	whole := func(n *int64) *int {
		if n == nil {
			return nil
		}
		i := int(*n)
		return &i
	}
	if tells {
		s.Files.LockSeconds = whole(seconds("fileNotifications.lockDurationAsIso8601", told.Lock, 5, 300, note))
		s.Files.NotificationTTLSeconds = whole(seconds("fileNotifications.ttlAsIso8601", told.TTL, 60, 172_800, note))
		s.Files.MaxDeliveries = number("fileNotifications.maxDeliveryCount", told.MaxDeliveryCount, note)
	}
	if stores {
		s.Files.GrantSeconds = whole(seconds("storageEndpoints.$default.sasTtlAsIso8601", store.TTL, 60, 86_400, note))
		if store.ContainerName != "" {
			on := p.FileNotifications
			s.Files.Notifications = &on
			note(fileStorage, "container "+store.ContainerName, nil)
		}
	}
	if s.Files != (hubclient.FileSettings{}) {
		note(fileSettings, h.Name, nil)
	}
}

// endpoints turns storage into storage, and everything else into a stream of its name, so that no message is lost and no route leads nowhere.
func (s *Settings) endpoints(e azureexport.Endpoints, note aside) {
	add := func(r rule, make func(azureexport.Endpoint) hubclient.Endpoint, list []azureexport.Endpoint) {
		for _, one := range list {
			if err := route.CheckName("endpoint", one.Name); err != nil {
				note(endpointBad, one.Name, err)
				continue
			}
			if s.hasEndpoint(one.Name) {
				note(endpointBad, one.Name, fault.Newf("parity.endpoints", fault.Invalid, "two endpoints are named %q", one.Name))
				continue
			}
			s.Endpoints = append(s.Endpoints, make(one))
			note(r, one.Name, nil)
		}
	}
	stream := func(e azureexport.Endpoint) hubclient.Endpoint {
		return hubclient.Endpoint{Name: e.Name, Kind: "stream"}
	}
	add(storageEndpoints, storage, e.StorageContainers)
	add(streamEndpoints, stream, e.EventHubs)
	add(streamEndpoints, stream, e.ServiceBusQueues)
	add(streamEndpoints, stream, e.ServiceBusTopics)
	add(cosmosEndpoints, stream, e.Cosmos)
}

const (
	mostBatchBytes  = 64 << 20
	uploadsOfDevice = "uploads" // where devices' files are
)

func storage(e azureexport.Endpoint) hubclient.Endpoint {
	out := hubclient.Endpoint{Name: e.Name, Kind: "storage", Bucket: e.ContainerName, BatchSeconds: min(e.BatchSeconds, 720), BatchBytes: min(e.ChunkBytes, mostBatchBytes)}
	if out.Bucket == uploadsOfDevice || len(out.Bucket) < 3 || strings.HasPrefix(out.Bucket, "$") {
		out.Bucket = "routed-" + strings.Trim(out.Bucket, "$")
	}
	return out
}

func (s *Settings) hasEndpoint(name string) bool {
	return name == route.BuiltIn || slices.ContainsFunc(s.Endpoints, func(e hubclient.Endpoint) bool { return e.Name == name })
}

func (s *Settings) routes(r *azureexport.Routing, note aside) {
	names := make([]string, len(s.Endpoints))
	for i, e := range s.Endpoints {
		names[i] = e.Name
	}
	for _, one := range r.Routes {
		to := route.Route{Name: one.Name, Source: route.Source(one.Source), Condition: one.Condition, Endpoints: one.Endpoints, Enabled: one.Enabled}
		if !slices.Contains(route.Sources(), to.Source) {
			note(routeSources, one.Name+" of "+one.Source, nil)
			continue
		}
		if _, err := route.Compile(route.Config{Endpoints: names, Routes: []route.Route{to}}); err != nil {
			note(routeBad, one.Name, err)
			continue
		}
		s.Routes = append(s.Routes, hubclient.Route{Name: one.Name, Source: one.Source, Condition: one.Condition, Endpoints: one.Endpoints, Enabled: one.Enabled})
		note(routes, one.Name, nil)
	}
	for _, one := range r.Enrichments {
		e := route.Enrichment{Key: one.Key, Value: one.Value, Endpoints: one.Endpoints}
		if _, err := route.Compile(route.Config{Endpoints: names, Enrichments: []route.Enrichment{e}}); err != nil {
			note(routeBad, "enrichment "+one.Key, err)
			continue
		}
		s.Enrichments = append(s.Enrichments, hubclient.Enrichment{Key: one.Key, Value: one.Value, Endpoints: one.Endpoints})
		note(enrichments, one.Key, nil)
	}
	if f := r.Fallback; f != nil {
		on := f.Enabled
		if s.Fallback = &on; !on {
			note(fallbackOff, f.Name, nil)
		}
	}
}

// seconds reads a duration and brings it within bounds; nil when none is given or it cannot be read.
func seconds(name, text string, least, most int64, note aside) *int64 {
	if text == "" {
		return nil
	}
	d, err := duration(text)
	if err != nil {
		note(settingBad, name, err)
		return nil
	}
	n := min(max(int64(d/time.Second), least), most)
	return &n
}

func number(name string, n int, note aside) *int {
	if n == 0 {
		return nil
	}
	if n < 1 || n > 100 {
		note(settingBad, name, fault.Newf("parity.number", fault.Invalid, "it is %d", n).Advise("it is a number from 1 to 100"))
		return nil
	}
	return &n
}

// duration reads an ISO 8601 duration of days and less, as Azure Resource Manager writes them: P1DT2H3M4S.
func duration(text string) (time.Duration, error) {
	bad := fault.Newf("parity.duration", fault.Invalid, "%.40q is no duration", text).Advise("it is written as PT1H or P1D")
	rest, ok := strings.CutPrefix(text, "P")
	if !ok || rest == "" {
		return 0, bad
	}
	var total time.Duration
	units := map[byte]time.Duration{'D': 24 * time.Hour}
	for rest != "" {
		if rest[0] == 'T' {
			units, rest = map[byte]time.Duration{'H': time.Hour, 'M': time.Minute, 'S': time.Second}, rest[1:]
			if rest == "" {
				return 0, bad
			}
			continue
		}
		end := strings.IndexFunc(rest, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
		if end <= 0 || end > 9 {
			return 0, bad
		}
		n, err := strconv.ParseFloat(rest[:end], 64)
		unit, known := units[rest[end]]
		if err != nil || !known {
			return 0, bad
		}
		total += time.Duration(n * float64(unit))
		if total < 0 || total > 3650*24*time.Hour {
			return 0, bad
		}
		rest = rest[end+1:]
	}
	return total, nil
}
