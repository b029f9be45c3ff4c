package httpdoor

import (
	"strconv"

	"github.com/isthmus-io/isthmus/fault"
	"github.com/isthmus-io/isthmus/hub"
	"github.com/isthmus-io/isthmus/hub/code"
	"github.com/isthmus-io/isthmus/hub/configuration"
	"github.com/isthmus-io/isthmus/hub/limit"
)

const maxConfigurationBody = 256 << 10

// configurationRoutes are those of Config.Configurations (IoT Hub service REST API, Configuration).
func configurationRoutes() []route {
	return []route{
		{method: "POST", path: "configurations/testQueries", open: toReaders, right: hub.RegistryRead, class: limit.Jobs, serve: withConfigurations(testQueries)},
		{method: "GET", path: "configurations", open: toReaders, right: hub.RegistryRead, class: limit.Jobs, serve: withConfigurations(listConfigurations)},
		{method: "GET", path: "configurations/{name}", open: toReaders, right: hub.RegistryRead, class: limit.Jobs, serve: withConfigurations(getConfiguration)},
		{method: "PUT", path: "configurations/{name}", right: hub.RegistryWrite, class: limit.Jobs, serve: withConfigurations(putConfiguration)},
		{method: "DELETE", path: "configurations/{name}", right: hub.RegistryWrite, class: limit.Jobs, serve: withConfigurations(deleteConfiguration)},
		{method: "POST", path: "devices/{device}/applyConfigurationContent", right: hub.RegistryWrite, class: limit.Jobs, serve: withConfigurations(applyContent)},
	}
}

// withConfigurations answers in words where there is no engine.
func withConfigurations(serve func(*exchange, *configuration.Engine) error) func(*exchange) error {
	return func(x *exchange) error {
		if x.door.cfg.Configurations == nil {
			return code.With(fault.New("httpdoor.configurations", fault.NotFound, "this hub keeps no configurations"), code.NotFound)
		}
		return serve(x, x.door.cfg.Configurations)
	}
}

// configurationJSON is a configuration on the wire.
type configurationJSON struct {
	ID              string                 `json:"id"`
	SchemaVersion   string                 `json:"schemaVersion"`
	Labels          map[string]string      `json:"labels"`
	Content         *configuration.Content `json:"content"`
	TargetCondition string                 `json:"targetCondition"`
	CreatedTimeUTC  string                 `json:"createdTimeUtc"`
	UpdatedTimeUTC  string                 `json:"lastUpdatedTimeUtc"`
	Priority        int64                  `json:"priority"`
	SystemMetrics   *metricsJSON           `json:"systemMetrics"`
	Metrics         *metricsJSON           `json:"metrics"`
	ETag            string                 `json:"etag"`
}

type metricsJSON struct {
	Results configuration.Results `json:"results"`
	Queries map[string]string     `json:"queries"`
}

const configurationSchema = "1.0"

func viewConfiguration(c configuration.Configuration) configurationJSON {
	return configurationJSON{
		ID: c.ID, SchemaVersion: configurationSchema, Labels: c.Labels, Content: &c.Content, TargetCondition: c.Target, CreatedTimeUTC: timeText(c.Created),
		UpdatedTimeUTC: timeText(c.Updated), Priority: c.Priority, SystemMetrics: &metricsJSON{c.System, c.SystemQueries}, Metrics: &metricsJSON{c.Results, c.Metrics}, ETag: c.ETag,
	}
}

func (x *exchange) answerConfiguration(c configuration.Configuration, err error) error {
	if err != nil {
		return err
	}
	x.setETag(c.ETag)
	return x.reply(viewConfiguration(c))
}

func getConfiguration(x *exchange, engine *configuration.Engine) error {
	return x.answerConfiguration(engine.Get(x.Context(), x.hub, x.name))
}

// putConfiguration makes a configuration, or changes it when If-Match says which one.
func putConfiguration(x *exchange, engine *configuration.Engine) error {
	var j configurationJSON
	if err := x.decode(maxConfigurationBody, &j); err != nil {
		return err
	}
	if j.ID != "" && j.ID != x.name {
		return fault.Newf("httpdoor.putConfiguration", fault.Invalid, "id is %.100q and the path says %.100q", j.ID, x.name)
	}
	c := configuration.Configuration{ID: x.name, Labels: j.Labels, Target: j.TargetCondition, Priority: j.Priority}
	if j.Content != nil {
		c.Content = *j.Content
	}
	if j.Metrics != nil {
		c.Metrics = j.Metrics.Queries
	}
	if match := x.ifMatch(); match != "" {
		return x.answerConfiguration(engine.Update(x.Context(), x.hub, c, match))
	}
	return x.answerConfiguration(engine.Create(x.Context(), x.hub, c))
}

func deleteConfiguration(x *exchange, engine *configuration.Engine) error {
	match := x.ifMatch()
	if match == "" {
		match = hub.AnyETag
	}
	if err := engine.Delete(x.Context(), x.hub, x.name, match); err != nil {
		return err
	}
	return x.nothing()
}

func listConfigurations(x *exchange, engine *configuration.Engine) error {
	top := 100
	if s := x.URL.Query().Get("top"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil || n < 1 || n > 1000 {
			return fault.Newf("httpdoor.listConfigurations", fault.Invalid, "top is %.20q", s).Advise("it is a number from 1 to 1000")
		}
		top = n
	}
	list, err := engine.List(x.Context(), x.hub, "", top)
	if err != nil {
		return err
	}
	out := make([]configurationJSON, len(list))
	for i, c := range list {
		out[i] = viewConfiguration(c)
	}
	return x.reply(out)
}

func testQueries(x *exchange, engine *configuration.Engine) error {
	var j struct {
		TargetCondition string            `json:"targetCondition"`
		Metrics         map[string]string `json:"customMetricQueries"`
	}
	if err := x.decode(maxConfigurationBody, &j); err != nil {
		return err
	}
	target, metrics := engine.TestQueries(j.TargetCondition, j.Metrics)
	return x.reply(struct {
		Target  string            `json:"targetConditionError"`
		Metrics map[string]string `json:"customMetricQueryErrors"`
	}{target, metrics})
}

func applyContent(x *exchange, engine *configuration.Engine) error {
	var c configuration.Content
	if err := x.decode(maxConfigurationBody, &c); err != nil {
		return err
	}
	if err := engine.ApplyContent(x.Context(), x.hub, x.device, c); err != nil {
		return err
	}
	return x.nothing()
}
